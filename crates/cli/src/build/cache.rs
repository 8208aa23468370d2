//! `--export-cache` and `--import-cache`.

use std::collections::BTreeMap;

use kiln_engine::CacheEntry;

use crate::failure::Failure;
use crate::fields;

/// Reads `--import-cache` values.
pub(super) fn imports(values: &[String]) -> Result<Vec<CacheEntry>, Failure> {
    values
        .iter()
        .map(|value| entry("--import-cache", value))
        .collect()
}

/// Reads `--export-cache` values; `mode` is `min` unless given.
pub(super) fn exports(values: &[String]) -> Result<Vec<CacheEntry>, Failure> {
    let entries = values.iter().map(|value| {
        let mut entry = entry("--export-cache", value)?;
        entry
            .attributes
            .entry("mode".into())
            .or_insert_with(|| "min".into());
        Ok(entry)
    });
    entries.collect()
}

fn entry(flag: &str, value: &str) -> Result<CacheEntry, Failure> {
    if !value.contains("type=") {
        eprintln!("warning: {flag} <ref> is deprecated; use {flag} type=registry,ref=<ref>");
        let attributes = BTreeMap::from([("ref".to_owned(), value.to_owned())]);
        return Ok(CacheEntry {
            kind: "registry".into(),
            attributes,
        });
    }
    let pairs = fields::pairs(value).map_err(|error| Failure::usage(format!("{flag}: {error}")))?;
    let mut attributes = pairs.into_iter().collect::<BTreeMap<_, _>>();
    let kind = attributes.remove("type").filter(|kind| !kind.is_empty());
    let kind = kind.ok_or_else(|| Failure::usage(format!("{flag} requires type=<type>")))?;
    Ok(CacheEntry { kind, attributes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_default_to_mode_min() {
        let check = |value: &str, mode: &str| {
            let entries = exports(&[value.to_owned()]).unwrap();
            assert_eq!(entries[0].attributes["mode"], mode, "{value}");
        };
        check("type=local,dest=x", "min");
        check("type=local,dest=x,mode=max", "max");
        check("registry.example/a:b", "min");
    }
}
