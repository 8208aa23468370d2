//! `--metadata-file`: what the exporters answered, as JSON.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::failure::Failure;

/// Writes the answers. Values that are base64 of JSON are written as the JSON
/// they hold, as upstream does.
pub(super) fn write(file: &Path, response: &BTreeMap<String, String>) -> Result<(), Failure> {
    let values = response
        .iter()
        .map(|(key, value)| (key.clone(), decode(value)));
    let object = Value::Object(values.collect::<Map<_, _>>());
    let text = serde_json::to_string_pretty(&object)
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    write_atomically(file, text.as_bytes())
}

fn decode(value: &str) -> Value {
    let bytes = base64::engine::general_purpose::STANDARD.decode(value);
    let json = bytes
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    json.filter(|json| json.is_object() || json.is_array())
        .unwrap_or_else(|| Value::String(value.to_owned()))
}

/// Replaces a file in one step, so that nobody reads half of it.
pub(super) fn write_atomically(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |error: std::io::Error| Failure::usage(format!("{}: {error}", file.display()));
    let dir = file
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(dir)
        .map_err(failed)?;
    temporary.write_all(bytes).map_err(failed)?;
    temporary
        .persist(file)
        .map_err(|error| failed(error.error))?;
    Ok(())
}
