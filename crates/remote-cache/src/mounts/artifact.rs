//! The manifest of mounts that are kept beside a cache.

use serde::{Deserialize, Serialize};

use crate::model::{self, Descriptor};
use crate::place::ReadError;

pub(super) const ARTIFACT: &str = "application/vnd.kiln.cache-mounts.v0";
/// Not called an index: whoever clears out layouts would take it for a list of manifests.
pub(super) const INDEX: &str = "application/vnd.kiln.cache-mounts.config.v0+json";
pub(super) const TREE: &str = "application/vnd.kiln.cache-mounts.tree.v0.tar+zstd";
pub(super) const PACK: &str = "application/vnd.kiln.cache-mounts.pack.v0";

/// What a cache's tag or name gets behind it.
pub(super) const SUFFIX: &str = ".mounts";
/// The longest tag that registries take.
const LONGEST_TAG: usize = 128;

/// Why mounts could not be read or restored.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub struct MountError {
    pub(super) doing: String,
    pub(super) source: ReadError,
}

/// For `map_err`: what was being done.
pub(super) fn doing<E: Into<ReadError>>(doing: impl Into<String>) -> impl FnOnce(E) -> MountError {
    let doing = doing.into();
    move |source| MountError {
        doing,
        source: source.into(),
    }
}

/// The manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Artifact {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    artifact_type: String,
    pub(super) config: Descriptor,
    layers: Vec<Descriptor>,
}

impl Artifact {
    pub(super) fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: model::OCI_MANIFEST.into(),
            artifact_type: ARTIFACT.into(),
            config,
            layers,
        }
    }

    /// Reads a manifest that should be one of mounts.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ReadError> {
        let artifact: Self = serde_json::from_slice(bytes)?;
        match artifact.artifact_type == ARTIFACT && artifact.config.media_type == INDEX {
            true => Ok(artifact),
            false => Err("it is no manifest of cache mounts".into()),
        }
    }
}

/// The tag of the mounts that belong to a cache's tag.
pub(super) fn tag_of(cache: &str) -> Result<String, MountError> {
    let tag = format!("{cache}{SUFFIX}");
    match tag.len() <= LONGEST_TAG {
        true => Ok(tag),
        false => Err(doing(format!("tag {tag:?}"))(format!(
            "it is longer than {LONGEST_TAG} characters; shorten the cache's tag"
        ))),
    }
}
