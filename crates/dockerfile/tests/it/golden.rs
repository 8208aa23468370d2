//! What BuildKit makes of small Dockerfiles, and what we make of them.
//!
//! Each folder of `tests/golden` has a context with a Dockerfile, frontend options, and from the reference implementation the
//! LLB (`llb.json`, digests included) and the image config (`config.json`).

use crate::lowering::{Build, lowered};
use kiln_dockerfile::Lowered;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The time which the reference was told to write into configs.
const EPOCH: &str = "2023-11-14T22:13:20Z";

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    cases
}

fn json(case: &Path, name: &str) -> Value {
    serde_json::from_slice(&fs::read(case.join(name)).unwrap()).unwrap()
}

fn build(case: &Path) -> Lowered {
    lowered(&Build::load(case))
}

#[test]
fn llb_is_the_references() {
    let mut failed = Vec::new();
    for case in cases() {
        let mut ours: Value =
            serde_json::from_str(&kiln_llb::json::to_json(&build(&case).definition)).unwrap();
        ours.as_object_mut().unwrap().remove("source");
        for metadata in ours["metadata"].as_object_mut().unwrap().values_mut() {
            if let Some(group) = metadata.get_mut("progress_group") {
                group["id"] = "random".into();
            }
        }
        let theirs = json(&case, "llb.json");
        if ours != theirs {
            let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap();
            failed.push((case, pretty(&ours), pretty(&theirs)));
        }
    }
    report(failed);
}

#[test]
fn config_is_the_references() {
    let mut failed = Vec::new();
    for case in cases() {
        let lowered = build(&case);
        let mut ours: Value = serde_json::from_str(&lowered.image.to_json()).unwrap();
        // What exporting adds.
        ours["created"] = EPOCH.into();
        let mut layers = 0;
        for entry in ours["history"].as_array_mut().unwrap() {
            entry["created"] = EPOCH.into();
            layers += usize::from(entry.get("empty_layer").is_none());
        }
        ours["rootfs"]["diff_ids"] = layers.into();
        let theirs = json(&case, "config.json");
        if ours != theirs {
            let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap();
            failed.push((case, pretty(&ours), pretty(&theirs)));
        }
    }
    report(failed);
}

fn report(failed: Vec<(PathBuf, String, String)>) {
    let names: Vec<_> = failed
        .iter()
        .map(|(case, ..)| case.file_name().unwrap())
        .collect();
    if let Some((case, ours, theirs)) = failed.first() {
        let lines: Vec<_> = theirs.lines().collect();
        let ours_lines: Vec<_> = ours.lines().collect();
        let more = |a: &[&str], b: &[&str]| {
            a.iter()
                .filter(|line| !b.contains(line))
                .copied()
                .collect::<Vec<_>>()
                .join("\n")
        };
        panic!(
            "{} cases differ: {names:?}\nin {}\nonly ours:\n{}\nonly theirs:\n{}",
            failed.len(),
            case.display(),
            more(&ours_lines, &lines),
            more(&lines, &ours_lines),
        );
    }
}
