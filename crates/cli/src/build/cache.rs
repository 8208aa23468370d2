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
    if kind == "gha" {
        add_github(&mut attributes, &|name| std::env::var(name).ok())?;
    }
    Ok(CacheEntry { kind, attributes })
}

/// The cache service of GitHub Actions is told to its jobs by variables.
fn add_github(
    attributes: &mut BTreeMap<String, String>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(), Failure> {
    let is_v2 = match attributes.get("version") {
        Some(version) => version == "2",
        None => variable("ACTIONS_CACHE_SERVICE_V2")
            .is_some_and(|value| matches!(value.to_lowercase().as_str(), "1" | "t" | "true")),
    };
    let mut fill = |key: &str, names: &[&str]| {
        if !attributes.contains_key(key)
            && let Some(value) = names.iter().find_map(|name| variable(name))
        {
            attributes.insert(key.to_owned(), value);
        }
    };
    if is_v2 {
        fill("url_v2", &["ACTIONS_RESULTS_URL"]);
    }
    fill("url", &["ACTIONS_CACHE_URL", "ACTIONS_RESULTS_URL"]);
    fill("token", &["ACTIONS_RUNTIME_TOKEN"]);
    if !attributes.contains_key("url") && !attributes.contains_key("url_v2") {
        return Err(Failure::usage(
            "cache with type gha requires url parameter to be set",
        ));
    }
    if !attributes.contains_key("token") {
        return Err(Failure::usage(
            "cache with type gha requires token parameter or $ACTIONS_RUNTIME_TOKEN",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn github_caches_are_completed_from_the_environment() {
        let variable = |name: &str| match name {
            "ACTIONS_CACHE_SERVICE_V2" => Some("true".to_owned()),
            "ACTIONS_RESULTS_URL" => Some("https://results".to_owned()),
            "ACTIONS_RUNTIME_TOKEN" => Some("secret".to_owned()),
            _ => None,
        };
        let mut attributes = BTreeMap::from([("token".to_owned(), "given".to_owned())]);
        add_github(&mut attributes, &variable).unwrap();
        let expected = [
            ("token", "given"),
            ("url", "https://results"),
            ("url_v2", "https://results"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(attributes, expected.into());
        assert!(add_github(&mut BTreeMap::new(), &|_| None).is_err());
    }

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
