//! Rules for source files: an opening line, a size, names that say something.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::top;

/// Longest source file in lines, tests aside.
const MAX_LINES: usize = 600;

/// File and folder names that say nothing.
const VAGUE: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "manager", "misc",
];

/// The only files that may say `unsafe`: starting processes, and locks that no
/// crate offers.
const UNSAFE: &[&str] = &[
    "crates/executor/src/kernel/calls.rs",
    "crates/executor/src/kernel/spawn.rs",
    "crates/store/src/lease/locks.rs",
];

pub(super) fn check() -> Result<Vec<String>, String> {
    let mut problems = Vec::new();
    for folder in ["crates", "xtask"] {
        for file in rust_files(&top().join(folder))? {
            let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
            let relative = file.strip_prefix(top()).unwrap_or(&file);
            let found = check_file(relative, &text);
            problems.extend(
                found
                    .into_iter()
                    .map(|it| format!("{}: {it}", relative.display())),
            );
        }
    }
    Ok(problems)
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn check_file(path: &Path, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let name = path.to_string_lossy();
    let is_test = name.contains("/tests/");
    if !text.starts_with("//!") {
        problems.push("must open with a //! line that says what it is for".into());
    }
    let lines = text.lines().count();
    if lines > MAX_LINES && !is_test && !name.contains("/generated/") {
        problems.push(format!(
            "has {lines} lines, at most {MAX_LINES} are allowed"
        ));
    }
    for part in path.iter().filter_map(|part| part.to_str()) {
        let stem = part.trim_end_matches(".rs");
        if VAGUE.contains(&stem) {
            problems.push(format!(
                "{stem:?} says nothing: name it after what is in it"
            ));
        }
    }
    let is_unsafe = text.lines().any(|line| {
        let code = line.split("//").next().unwrap_or_default();
        code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
    });
    if is_unsafe && !UNSAFE.contains(&name.as_ref()) && !name.starts_with("xtask") {
        problems.push("unsafe code belongs into the kernel-facing modules only".into());
    }
    problems.extend(forgotten_test(path));
    problems
}

/// A file under tests/it that main.rs does not name would never run.
fn forgotten_test(path: &Path) -> Option<String> {
    let parent = path.parent()?;
    if !parent.ends_with("tests/it") || path.ends_with("main.rs") {
        return None;
    }
    let module = path.file_stem()?.to_str()?;
    let main = fs::read_to_string(top().join(parent).join("main.rs")).unwrap_or_default();
    let declared = main
        .lines()
        .any(|line| line.trim() == format!("mod {module};"));
    (!declared).then(|| format!("is not a module of {}/main.rs", parent.display()))
}
