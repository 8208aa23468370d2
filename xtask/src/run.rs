//! Runs other programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The top of the source tree.
pub(crate) fn top() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .map_or_else(|| manifest.to_path_buf(), Path::to_path_buf)
}

/// A program at the top of the tree, its arguments separated by spaces.
pub(crate) fn command(line: &str) -> Command {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).current_dir(top());
    command
}

/// Runs a command line and fails unless it succeeds.
pub(crate) fn run(line: &str) -> Result<(), String> {
    println!("+ {line}");
    check(command(line), line)
}

/// Runs a command and fails unless it succeeds.
pub(crate) fn check(mut command: Command, what: &str) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what}: {status}")),
        Err(error) => Err(format!("{what}: {error}")),
    }
}

/// What a command line prints.
pub(crate) fn output(line: &str) -> Result<String, String> {
    let output = command(line)
        .output()
        .map_err(|error| format!("{line}: {error}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{line}: {}: {}", output.status, stderr.trim_end()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program can be found.
pub(crate) fn has(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// A binary that cargo has built; its folder carries the target's name
/// because the target is always given (.cargo/config.toml).
pub(crate) fn built(profile: &str, name: &str) -> Result<PathBuf, String> {
    let metadata = output("cargo metadata --format-version 1 --no-deps")?;
    let metadata: serde_json::Value =
        serde_json::from_str(&metadata).map_err(|error| error.to_string())?;
    let target = Path::new(metadata["target_directory"].as_str().unwrap_or("target")).to_path_buf();
    let host = output("rustc --print host-tuple")?;
    Ok(target.join(host.trim()).join(profile).join(name))
}

/// Runs a command whose output only matters if it fails; until then it is in `log`.
pub(crate) fn run_quietly(command: &mut Command, log: &Path) -> Result<(), String> {
    let file = fs::File::create(log).map_err(|error| at(log, &error))?;
    let errors = file.try_clone().map_err(|error| at(log, &error))?;
    let status = command.stdout(file).stderr(errors).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}: {}", last_lines(log))),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

/// The end of a log, for error texts.
pub(crate) fn last_lines(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().collect::<Vec<_>>();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// An error text that names a path.
pub(crate) fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
