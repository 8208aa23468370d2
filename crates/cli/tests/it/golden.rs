//! Facts taken from BuildKit: definitions, cache keys and image configs of
//! small Dockerfiles must be the same here. The cases lie in
//! `crates/dockerfile/tests/golden`; its README says what each file is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::world::{World, ran, text, tool};

fn cases() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dockerfile/tests/golden");
    let entries = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut cases = entries.filter(|path| path.is_dir()).collect::<Vec<_>>();
    cases.sort();
    assert!(cases.len() >= 38, "cases are missing");
    cases
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The flags that the reference was given for this case.
fn arguments(case: &Path) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
    let context = text(&case.join("context")).to_owned();
    add("--local", format!("context={context}"));
    add("--local", format!("dockerfile={context}"));
    if case.join("other").is_dir() {
        add("--local", format!("other={}", text(&case.join("other"))));
    }
    for (key, value) in json(&case.join("opts.json")).as_object().unwrap() {
        add("--opt", format!("{key}={}", value.as_str().unwrap()));
    }
    arguments
}

fn build(world: &World, case: &Path, more: &[&str]) -> crate::world::Ran {
    let mut command = world.command(&["build", "--progress=plain", "--frontend", "dockerfile.v0"]);
    ran(command.args(arguments(case)).args(more).output().unwrap())
}

/// A build that runs its steps, with the privileges and secrets that the
/// reference's build was given.
fn build_for_real(world: &World, case: &Path, output: &[&str; 2]) -> crate::world::Ran {
    let mut arguments = vec!["--allow", "network.host", "--allow", "security.insecure"];
    for secret in ["id=a,src=a", "id=c,src=c", "id=e,src=e"] {
        world.write(&secret[3..4], "x");
        arguments.extend(["--secret", secret]);
    }
    arguments.extend(output);
    build(world, case, &arguments)
}

/// Goes through all cases and reports every one that differs.
fn check_all(check: impl Fn(&Path) -> Result<(), String> + Sync) {
    let cases = cases();
    let failed = std::sync::Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for part in cases.chunks(cases.len().div_ceil(2)) {
            let (check, failed) = (&check, &failed);
            scope.spawn(move || {
                for case in part {
                    if let Err(difference) = check(case) {
                        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
                        failed.lock().unwrap().insert(name, difference);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    let report = failed
        .iter()
        .map(|(name, difference)| format!("== {name}\n{difference}\n"));
    assert!(
        failed.is_empty(),
        "{} cases differ:\n{}",
        failed.len(),
        report.collect::<String>()
    );
}

#[test]
fn definitions_are_the_references() {
    let world = World::new();
    check_all(|case| {
        let ran = build(
            &world,
            case,
            &[
                "--opt",
                "requestid=frontend.convertllb",
                "--opt",
                "local-sessionid:context=golden",
                "--opt",
                "local-sessionid:other=golden",
            ],
        );
        if !ran.success {
            return Err(ran.stderr);
        }
        let answer = ran
            .stdout
            .strip_prefix("result.json\n")
            .unwrap_or(&ran.stdout);
        let printed: Value =
            serde_json::from_str(answer).map_err(|error| format!("{error}: {}", ran.stdout))?;
        let expected = json(&case.join("llb.json"));
        let keys = |value: &Value| -> BTreeSet<String> {
            value["def"]
                .as_object()
                .map(|ops| ops.keys().cloned().collect())
                .unwrap_or_default()
        };
        match keys(&printed) == keys(&expected) {
            true => Ok(()),
            false => Err(format!("{}\nexpected\n{}", printed["def"], expected["def"])),
        }
    });
}

#[test]
fn cache_records_are_the_references() {
    check_all(|case| {
        let world = World::new();
        let ran = build_for_real(
            &world,
            case,
            &["--export-cache", "type=local,dest=cache,mode=max"],
        );
        if !ran.success {
            return Err(ran.stderr);
        }
        let printed = records(&world.path("cache"));
        let expected = sorted_records(json(&case.join("cache.json")));
        match printed == expected {
            true => Ok(()),
            false => Err(format!("{printed:#?}\nexpected\n{expected:#?}")),
        }
    });
}

/// The records of a cache directory in the form of `cache.json`: linked by
/// digest in place of index.
fn records(cache: &Path) -> Vec<String> {
    let blob = |digest: &str| {
        json(
            &cache
                .join("blobs/sha256")
                .join(digest.trim_start_matches("sha256:")),
        )
    };
    let index = json(&cache.join("index.json"));
    let manifest = blob(index["manifests"][0]["digest"].as_str().unwrap());
    let config = blob(manifest["config"]["digest"].as_str().unwrap());
    let records = config["records"].as_array().unwrap();
    let list = records.iter().map(|record| {
        let inputs = record["inputs"]
            .as_array()
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .map(|links| {
                links
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|link| {
                        let target = &records[link["link"].as_u64().unwrap_or(0) as usize];
                        serde_json::json!({
                            "selector": link["selector"].as_str().unwrap_or(""),
                            "record": target["digest"],
                        })
                    })
                    .collect::<Vec<_>>()
            })
            .collect::<Vec<_>>();
        let has_result = ["layers", "chains"].iter().any(|key| {
            record[key]
                .as_array()
                .is_some_and(|results| !results.is_empty())
        });
        serde_json::json!({"digest": record["digest"], "result": has_result, "inputs": inputs})
    });
    sorted_records(Value::Array(list.collect()))
}

fn sorted_records(records: Value) -> Vec<String> {
    let mut records = records
        .as_array()
        .unwrap()
        .iter()
        .map(|record| {
            let mut record = record.clone();
            for links in record["inputs"].as_array_mut().into_iter().flatten() {
                links
                    .as_array_mut()
                    .unwrap()
                    .sort_by_key(ToString::to_string);
            }
            record.to_string()
        })
        .collect::<Vec<_>>();
    records.sort();
    records
}

#[test]
fn image_configs_are_the_references() {
    check_all(|case| {
        let world = World::new();
        let ran = build_for_real(
            &world,
            case,
            &[
                "--output",
                "type=oci,dest=image.tar,source-date-epoch=1700000000",
            ],
        );
        if !ran.success {
            return Err(ran.stderr);
        }
        let archive = text(&world.path("image.tar")).to_owned();
        let entry = |name: &str| {
            serde_json::from_str::<Value>(&tool("tar", &["xOf", &archive, name])).unwrap()
        };
        let blob = |digest: &Value| {
            entry(&format!(
                "blobs/sha256/{}",
                digest.as_str().unwrap().trim_start_matches("sha256:")
            ))
        };
        let manifest = blob(&entry("index.json")["manifests"][0]["digest"]);
        let mut config = blob(&manifest["config"]["digest"]);
        let layers = config["rootfs"]["diff_ids"].as_array().map_or(0, Vec::len);
        config["rootfs"]["diff_ids"] = layers.into();
        let expected = json(&case.join("config.json"));
        match config == expected {
            true => Ok(()),
            false => Err(format!("{config:#}\nexpected\n{expected:#}")),
        }
    });
}
