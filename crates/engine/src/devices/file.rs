//! Reads one CDI file. What is wrong with it is told by the file's path and the field's.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::spec::{DeviceNode, Edits, Spec};
use super::{names, version};

/// No file is larger, by far.
const MAX_SIZE: u64 = 4 << 20;

/// A file that was found sound.
#[derive(Debug)]
pub(super) struct SpecFile {
    pub(super) path: PathBuf,
    pub(super) spec: Spec,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("CDI file {path}: {problem}", path = path.display())]
pub(super) struct SpecError {
    path: PathBuf,
    problem: String,
}

impl SpecFile {
    pub(super) fn read(path: &Path) -> Result<Self, SpecError> {
        let spec = parse(path).and_then(|spec| check(&spec).map(|()| spec));
        let path = path.to_owned();
        match spec {
            Ok(spec) => Ok(Self { path, spec }),
            Err(problem) => Err(SpecError { path, problem }),
        }
    }
}

fn parse(path: &Path) -> Result<Spec, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut file = file.take(MAX_SIZE + 1);
    file.read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_SIZE {
        return Err(format!("it is larger than {MAX_SIZE} bytes"));
    }
    let is_json = path.extension().is_some_and(|it| it == "json");
    let value: serde_json::Value = match is_json {
        true => serde_json::from_str(&text).map_err(|error| error.to_string())?,
        false => serde_saphyr::from_str_with_options(&text, yaml_options())
            .map_err(|error| error.to_string())?,
    };
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (path, problem) = (error.path().to_string(), error.inner());
        match path.as_str() {
            "." => problem.to_string(),
            path => format!("{path}: {problem}"),
        }
    })
}

/// Modes are written as `0644`, which only older YAML takes for an octal number.
fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        legacy_octal_numbers: true,
        with_snippet: false,
    }
}

fn check(spec: &Spec) -> Result<(), String> {
    let at = |place: &str, problem: String| format!("{place}: {problem}");
    if let Some(problem) = names::kind_problem(&spec.kind) {
        return Err(at("kind", problem));
    }
    if let Some(problem) = version::problem(spec) {
        return Err(at("cdiVersion", problem));
    }
    if spec.devices.is_empty() {
        return Err(at("devices", "there is none".into()));
    }
    let mut known = BTreeSet::new();
    for (index, device) in spec.devices.iter().enumerate() {
        let place = format!("devices[{index}].name");
        if let Some(problem) = names::device_problem(&device.name) {
            return Err(at(&place, problem));
        }
        if !known.insert(&device.name) {
            return Err(at(
                &place,
                format!("there are two devices {:?}", device.name),
            ));
        }
        if device.container_edits.are_none() {
            let place = format!("devices[{index}].containerEdits");
            return Err(at(
                &place,
                "they are empty, so the device gives nothing".into(),
            ));
        }
    }
    for (place, edits) in spec.all_edits() {
        check_edits(&place, edits)?;
    }
    Ok(())
}

fn check_edits(place: &str, edits: &Edits) -> Result<(), String> {
    for (index, variable) in edits.env.iter().enumerate() {
        if !variable.contains('=') || variable.starts_with('=') {
            return Err(format!(
                "{place}.env[{index}]: {variable:?} is not of the form NAME=value"
            ));
        }
    }
    for (index, node) in edits.device_nodes.iter().enumerate() {
        check_node(node).map_err(|problem| format!("{place}.deviceNodes[{index}].{problem}"))?;
    }
    for (index, mount) in edits.mounts.iter().enumerate() {
        let fields = [
            ("hostPath", &mount.host_path),
            ("containerPath", &mount.container_path),
        ];
        for (field, value) in fields {
            if value.is_empty() {
                return Err(format!("{place}.mounts[{index}].{field}: it is empty"));
            }
        }
    }
    Ok(())
}

fn check_node(node: &DeviceNode) -> Result<(), String> {
    if node.path.is_empty() {
        return Err("path: it is empty".into());
    }
    if !matches!(node.r#type.as_str(), "" | "b" | "c" | "u" | "p") {
        return Err(format!("type: {:?} is none of b, c, u and p", node.r#type));
    }
    match node.permissions.chars().all(|it| "rwm".contains(it)) {
        true => Ok(()),
        false => Err(format!(
            "permissions: {:?} has more in it than r, w and m",
            node.permissions
        )),
    }
}
