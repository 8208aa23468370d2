//! Every corner of lowering, against the reference implementation's own frontend.
//!
//! Each folder of `tests/cases` has a Dockerfile and its world (`opts.json`, `images.json`, `times.json`,
//! `dockerignore`), and beside them what the reference made of it: `llb.json` without source map, `config.json`,
//! `base.json`, `warnings.txt`, `error.txt`, and its answers to the outline, targets and lint requests.

use crate::lowering::{Build, ask, try_lower};
use kiln_dockerfile::subrequest::Request;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.retain(|case| case.is_dir());
    cases.sort();
    cases
}

fn text(case: &Path, name: &str) -> Option<String> {
    fs::read_to_string(case.join(name)).ok()
}

/// Checks every case; all differences are shown together.
fn check_all(check: impl Fn(&Path, &Build) -> Result<(), String>) {
    let mut report = String::new();
    for case in cases() {
        let build = Build::load(&case);
        if let Err(difference) = check(&case, &build) {
            let _ = writeln!(
                report,
                "== {}\n{difference}",
                case.file_name().unwrap().display()
            );
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

/// Lines that only one side has.
fn difference(what: &str, ours: &str, theirs: &str) -> Result<(), String> {
    if ours == theirs {
        return Ok(());
    }
    let only = |a: &str, b: &str| {
        let lines = a
            .lines()
            .filter(|line| !b.lines().any(|other| other == *line));
        lines.take(12).collect::<Vec<_>>().join("\n")
    };
    let (more, less) = (only(ours, theirs), only(theirs, ours));
    Err(format!(
        "{what}\n only ours:\n{more}\n only theirs:\n{less}\n{}",
        if more.is_empty() && less.is_empty() {
            ours
        } else {
            ""
        }
    ))
}

#[test]
fn llb() {
    check_all(|case, build| {
        let Some(theirs) = text(case, "llb.json") else {
            return Ok(());
        };
        let lowered = try_lower(build).map_err(|error| format!("failed: {error}"))?;
        let mut ours: Value =
            serde_json::from_str(&kiln_llb::json::to_json(&lowered.definition)).unwrap();
        ours.as_object_mut().unwrap().remove("source");
        for metadata in ours["metadata"].as_object_mut().unwrap().values_mut() {
            if let Some(group) = metadata.get_mut("progress_group") {
                group["id"] = "random".into();
            }
        }
        let theirs: Value = serde_json::from_str(&theirs).unwrap();
        let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap();
        difference("llb", &pretty(&ours), &pretty(&theirs))
    });
}

#[test]
fn configs() {
    check_all(|case, build| {
        let Some(theirs) = text(case, "config.json") else {
            return Ok(());
        };
        let lowered = try_lower(build).map_err(|error| format!("failed: {error}"))?;
        difference("config", &format!("{}\n", lowered.image.to_json()), &theirs)?;
        let base = lowered
            .base_image
            .map(|base| format!("{}\n", base.to_json()));
        difference(
            "base",
            &base.unwrap_or_default(),
            &text(case, "base.json").unwrap_or_default(),
        )
    });
}

/// The reference's text, to which ours may add a way out.
#[test]
fn errors() {
    check_all(|case, build| {
        let ours = try_lower(build).err().unwrap_or_default();
        let theirs = text(case, "error.txt").unwrap_or_default();
        match theirs.trim_end() {
            "" => difference("error", &ours, ""),
            theirs if ours.starts_with(theirs) => Ok(()),
            theirs => difference("error", &ours, theirs),
        }
    });
}

#[test]
fn warnings() {
    check_all(|case, build| {
        let Ok(lowered) = try_lower(build) else {
            return Ok(());
        };
        let mut ours: Vec<_> = lowered
            .warnings
            .iter()
            .map(|warning| format!("{}\n", warning.short()))
            .collect();
        ours.sort();
        difference(
            "warnings",
            &ours.concat(),
            &text(case, "warnings.txt").unwrap_or_default(),
        )
    });
}

#[test]
fn outlines_and_targets() {
    check_all(|case, build| {
        for (request, name) in [(Request::Outline, "outline"), (Request::Targets, "targets")] {
            let Some(theirs) = text(case, &format!("{name}.json")) else {
                continue;
            };
            let metadata = ask(build, request)
                .map_err(|error| format!("{name}: {error}"))?
                .metadata;
            // The reference leaves open what comes first of what stands on one line.
            let lines = |text: &str| {
                let mut lines: Vec<_> = text
                    .lines()
                    .map(|line| line.trim_end_matches(','))
                    .collect();
                lines.sort_unstable();
                lines.join("\n")
            };
            difference(name, &lines(&metadata["result.json"]), &lines(&theirs))?;
            let theirs = text(case, &format!("{name}.txt")).unwrap_or_default();
            difference(name, &lines(&metadata["result.txt"]), &lines(&theirs))?;
        }
        Ok(())
    });
}

#[test]
fn lints() {
    check_all(|case, build| {
        let Some(theirs) = text(case, "lint.json") else {
            return Ok(());
        };
        let metadata = ask(build, Request::Lint)?.metadata;
        let mut ours: Value = serde_json::from_str(&metadata["result.json"]).unwrap();
        let theirs: Value = serde_json::from_str(&theirs).unwrap();
        if let Some(error) = theirs.get("buildError") {
            let message = error["message"].as_str().unwrap();
            let our_error = &mut ours["buildError"];
            // Ours may add a way out, and knows more places.
            if our_error["message"]
                .as_str()
                .is_some_and(|ours| ours.starts_with(message))
            {
                our_error["message"] = message.into();
            }
            if error["location"].as_object().unwrap().is_empty() {
                our_error["location"] = serde_json::json!({});
            }
        }
        let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap();
        difference("lint", &pretty(&ours), &pretty(&theirs))?;
        difference(
            "lint",
            &metadata["result.txt"],
            &text(case, "lint.txt").unwrap_or_default(),
        )
    });
}

#[test]
fn describe() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let metadata = ask(&Build::new("FROM scratch\n"), Request::Describe)
        .unwrap()
        .metadata;
    assert_eq!(
        metadata["result.json"],
        text(&folder, "describe.json").unwrap()
    );
    assert_eq!(
        metadata["result.txt"],
        text(&folder, "describe.txt").unwrap()
    );
}
