//! Files whose content goes into the provenance of every build.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use kiln_engine::ProvenanceEnvironment;

/// Larger files are refused.
const LIMIT: u64 = 1 << 20;

/// The fields of all `*.json` files in a directory, which need not be there.
pub(super) fn environment(directory: &Path) -> Result<ProvenanceEnvironment, String> {
    let mut environment = ProvenanceEnvironment::default();
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(environment),
        Err(error) => return Err(failed(directory, error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths = paths.collect::<std::io::Result<Vec<_>>>();
    let mut paths = paths.map_err(|error| failed(directory, error))?;
    paths.retain(|path| path.extension().is_some_and(|it| it == "json") && !path.is_dir());
    paths.sort();
    for path in paths {
        let mut bytes = Vec::new();
        let file = fs::File::open(&path).map_err(|error| failed(&path, error))?;
        let read = file.take(LIMIT + 1).read_to_end(&mut bytes);
        read.map_err(|error| failed(&path, error))?;
        if bytes.len() as u64 > LIMIT {
            return Err(format!("{}: larger than {LIMIT} bytes", path.display()));
        }
        let added = environment.add(&bytes);
        added.map_err(|error| format!("failed to parse {}: {error}", path.display()))?;
    }
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let read = || environment(dir.path());
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        assert_eq!(
            environment(&dir.path().join("none")),
            Ok(ProvenanceEnvironment::default())
        );
        write("b.json", r#"{"site": "b"}"#);
        write("a.json", r#"{"site": "a", "pipeline": {"id": 1}}"#);
        write("c.txt", "no JSON");
        fs::create_dir(dir.path().join("d.json")).unwrap();
        let mut expected = ProvenanceEnvironment::default();
        expected
            .add(br#"{"site": "b", "pipeline": {"id": 1}}"#)
            .unwrap();
        assert_eq!(read(), Ok(expected));
        write("c.json", r#"{"platform": "x"}"#);
        let error = read().unwrap_err();
        assert!(error.ends_with("c.json: key \"platform\" is builtin and not allowed to be modified in provenance config"), "{error}");
        write("c.json", "[]");
        assert!(read().unwrap_err().contains("c.json: no JSON object: "));
    }
}
