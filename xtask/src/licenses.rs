//! Checks that every dependency has a licence that fits Apache-2.0.

use serde_json::Value;

use crate::run::output;

/// Licences that may be linked into the binaries.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "bzip2-1.0.6",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

pub(crate) fn run() -> Result<(), String> {
    let metadata = output("cargo metadata --format-version 1 --locked")?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|error| error.to_string())?;
    let packages = metadata["packages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let bad = packages
        .iter()
        .filter(|package| !is_allowed(package["license"].as_str()));
    let bad = bad.map(|package| format!("{}: {}", package["name"], package["license"]));
    let bad = bad.collect::<Vec<_>>();
    if bad.is_empty() {
        return Ok(());
    }
    Err(format!(
        "dependencies with licences that are not allowed:\n{}",
        bad.join("\n")
    ))
}

/// One of the alternatives must be allowed in all its parts.
fn is_allowed(license: Option<&str>) -> bool {
    let Some(license) = license else { return false };
    let license = license.replace(['(', ')'], " ").replace('/', " OR ");
    license.split(" OR ").any(|choice| {
        choice
            .split(" AND ")
            .all(|part| ALLOWED.contains(&part.trim()))
    })
}
