//! Image configs: what the frontend said, completed by what was really made.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use oci_spec::image::{Digest, Platform};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::history::{self, History};
use super::json;
use super::time::Time;
use crate::ExportError;
use crate::layers::LayerBlob;

/// What a config is patched with.
pub(crate) struct Patch<'a> {
    pub(crate) layers: &'a [LayerBlob],
    pub(crate) base: Option<&'a BaseConfig>,
    pub(crate) epoch: Option<i64>,
    pub(crate) inline_cache: Option<&'a Bytes>,
    pub(crate) build_info: Option<&'a Bytes>,
}

/// What matters of a base image's config.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct BaseConfig {
    #[serde(default)]
    history: Option<Vec<History>>,
    #[serde(default)]
    rootfs: BaseRootFs,
}

#[derive(Debug, Default, Deserialize)]
struct BaseRootFs {
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

impl BaseConfig {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ExportError> {
        serde_json::from_slice(bytes)
            .map_err(|error| invalid(format!("failed to unmarshal base image config: {error}")))
    }

    pub(crate) fn diff_ids(&self) -> &[Digest] {
        self.rootfs.diff_ids.as_deref().unwrap_or_default()
    }
}

/// What must be in a config before anything is added.
#[derive(Deserialize)]
struct Required {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    history: Option<Vec<History>>,
}

#[derive(Serialize)]
struct RootFs<'a> {
    r#type: &'static str,
    diff_ids: Option<Vec<&'a Digest>>,
}

/// A finished config, and when its image was made.
pub(crate) struct Config {
    pub(crate) bytes: Vec<u8>,
    pub(crate) created: Option<Time>,
}

/// Completes a config: layers, history, times, inline cache. All other fields stay as they are written.
pub(crate) fn patch(config: &[u8], patch: &Patch<'_>) -> Result<Config, ExportError> {
    let required: Required =
        serde_json::from_slice(config).map_err(|error| invalid(error.to_string()))?;
    for (name, value) in [
        ("os", &required.os),
        ("architecture", &required.architecture),
    ] {
        if value.is_empty() {
            return Err(invalid(format!("missing {name}")));
        }
    }
    let mut fields: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(config).map_err(|error| invalid(error.to_string()))?;
    let epoch = patch.epoch.map(Time::from_seconds);

    let diff_ids: Vec<_> = patch.layers.iter().map(|layer| &layer.diff_id).collect();
    let diff_ids = Some(diff_ids).filter(|ids| !ids.is_empty());
    set(
        &mut fields,
        "rootfs",
        &RootFs {
            r#type: "layers",
            diff_ids,
        },
    )?;

    let mut history = history::reconcile(required.history, patch.layers);
    if let (Some(epoch), Some(history)) = (epoch, &mut history) {
        let base = patch
            .base
            .and_then(|base| base.history.as_deref())
            .unwrap_or_default();
        history::clamp(history, base, epoch);
    }
    set(&mut fields, "history", &history)?;

    let created = created(&mut fields, history.as_deref(), epoch)?;
    for (field, bytes) in [
        ("moby.buildkit.buildinfo.v1", patch.build_info),
        ("moby.buildkit.cache.v0", patch.inline_cache),
    ] {
        if let Some(bytes) = bytes {
            set(&mut fields, field, &BASE64.encode(bytes))?;
        }
    }
    let bytes = json::compact_raw(&fields).map_err(|error| invalid(error.to_string()))?;
    Ok(Config { bytes, created })
}

/// Settles the time of the config: what it says, brought down to the epoch; if it says nothing, the time of the last
/// history entry that has one.
fn created(
    fields: &mut BTreeMap<String, Box<RawValue>>,
    history: Option<&[History]>,
    epoch: Option<Time>,
) -> Result<Option<Time>, ExportError> {
    let Some(raw) = fields.get("created") else {
        let last = history
            .unwrap_or_default()
            .iter()
            .rev()
            .find_map(|entry| entry.created);
        set(fields, "created", &last)?;
        return Ok(last);
    };
    let said = serde_json::from_str::<Option<Time>>(raw.get());
    let Some(epoch) = epoch else {
        return Ok(said.unwrap_or_default());
    };
    let said = said.map_err(|error| {
        invalid(format!(
            "failed to unmarshal creation time {:?}: {error}",
            raw.get()
        ))
    })?;
    if said.is_some_and(|said| said.is_after(&epoch)) {
        set(fields, "created", &epoch)?;
        return Ok(Some(epoch));
    }
    Ok(said)
}

fn set(
    fields: &mut BTreeMap<String, Box<RawValue>>,
    name: &str,
    value: &impl Serialize,
) -> Result<(), ExportError> {
    let raw = to_raw_value(value).map_err(|error| invalid(error.to_string()))?;
    fields.insert(name.to_owned(), raw);
    Ok(())
}

/// The config of an image whose frontend made none: a working directory and, but on Windows, a search path.
pub(crate) fn minimal(platform: &Platform) -> Result<Vec<u8>, ExportError> {
    let mut config = BTreeMap::from([("WorkingDir", serde_json::json!("/"))]);
    let os = platform.os().to_string();
    if os != "windows" {
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        config.insert("Env", serde_json::json!([path]));
    }
    let platform = super::model::Platform::from(platform);
    let mut fields = match serde_json::to_value(&platform) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => return Err(invalid("the platform cannot be written".into())),
    };
    fields.insert("config".into(), serde_json::json!(config));
    serde_json::to_vec(&fields).map_err(|error| invalid(error.to_string()))
}

fn invalid(reason: String) -> ExportError {
    ExportError::Config(reason)
}
