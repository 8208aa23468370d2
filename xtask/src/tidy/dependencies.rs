//! The dependency table: no crate uses one of its own level or above.

use serde_json::Value;

use crate::run::output;

/// Crates by level, lowest first (ARCHITECTURE.md explains the table).
const LEVELS: &[&[&str]] = &[
    &[
        "protocol",
        "solver",
        "store",
        "executor",
        "signature",
        "proxy",
    ],
    &["llb", "session", "registry", "containerd"],
    &[
        "client",
        "docker",
        "dockerfile",
        "source",
        "exporter",
        "remote-cache",
    ],
    &["frontend"],
    &["engine"],
    &["daemon", "cli"],
];

/// Crates that only tests may use, and that use no other crate.
const TESTS_ONLY: &[&str] = &["testkit"];

pub(super) fn check() -> Result<Vec<String>, String> {
    let metadata = output("cargo metadata --format-version 1 --no-deps")?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|error| error.to_string())?;
    let packages = metadata["packages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    Ok(packages.iter().flat_map(check_package).collect())
}

fn check_package(package: &Value) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let Some(name) = name.strip_prefix("kiln-") else {
        return Vec::new();
    };
    let dependencies = package["dependencies"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let ours = dependencies.iter().filter_map(|dependency| {
        let used = dependency["name"].as_str()?.strip_prefix("kiln-")?;
        Some((used, dependency["kind"].as_str() == Some("dev")))
    });
    if TESTS_ONLY.contains(&name) {
        return ours
            .map(|(used, _)| format!("{name} must not use {used}"))
            .collect();
    }
    let Some(level) = level(name) else {
        return vec![format!(
            "crate {name} is missing in xtask/src/tidy/dependencies.rs"
        )];
    };
    ours.filter(
        |(used, in_tests)| match (TESTS_ONLY.contains(used), in_tests) {
            (true, in_tests) => !in_tests,
            (false, _) => self::level(used).is_none_or(|used| used >= level),
        },
    )
    .map(|(used, _)| format!("{name} (level {level}) must not use {used}"))
    .collect()
}

fn level(name: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&name))
}
