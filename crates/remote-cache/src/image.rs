//! What matters of an image that has a cache in its config.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use crate::config::Record;
use crate::model::{CREATED_AT, Descriptor, UNCOMPRESSED};
use crate::place::ReadError;

/// An image config.
#[derive(Deserialize)]
pub(crate) struct Image {
    #[serde(default)]
    pub(crate) rootfs: RootFs,
    #[serde(default, rename = "moby.buildkit.cache.v0")]
    cache: Option<String>,
    #[serde(default)]
    history: Option<Vec<History>>,
}

#[derive(Default, Deserialize)]
pub(crate) struct RootFs {
    #[serde(default)]
    pub(crate) diff_ids: Vec<String>,
}

#[derive(Deserialize)]
struct History {
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    created_by: String,
    #[serde(default)]
    empty_layer: bool,
}

impl Image {
    /// The records of its cache, if it has one.
    pub(crate) fn records(&self) -> Result<Option<Vec<Record>>, ReadError> {
        let Some(text) = &self.cache else {
            return Ok(None);
        };
        Ok(Some(serde_json::from_slice(&BASE64.decode(text)?)?))
    }

    /// The manifest's layers with what the config knows of them.
    pub(crate) fn describe(&self, layers: &[Descriptor]) -> Vec<Descriptor> {
        let mut history = self
            .history
            .iter()
            .flatten()
            .filter(|entry| !entry.empty_layer);
        let describe = |(layer, diff_id): (&Descriptor, &String)| {
            let mut annotations = layer.annotations.clone().unwrap_or_default();
            annotations.insert(UNCOMPRESSED.into(), diff_id.clone());
            if let Some(entry) = history.next() {
                annotations.extend(
                    entry
                        .created
                        .clone()
                        .map(|created| (CREATED_AT.to_owned(), created)),
                );
                if !entry.created_by.is_empty() {
                    annotations.insert("buildkit/description".into(), entry.created_by.clone());
                }
            }
            Descriptor {
                annotations: Some(annotations),
                ..layer.clone()
            }
        };
        layers
            .iter()
            .zip(&self.rootfs.diff_ids)
            .map(describe)
            .collect()
    }
}
