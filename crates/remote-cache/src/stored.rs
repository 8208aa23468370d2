//! A cache in a store that knows blobs and names only: its config says of each layer what a manifest would.

use kiln_solver::ExportRecord;
use oci_spec::image::{self as oci, Digest};

use crate::CacheLayer;
use crate::build::{self, BuildError};
use crate::config::{CacheConfig, Created, LayerAnnotations};
use crate::model::{self, CREATED_AT, Descriptor, UNCOMPRESSED};

/// Such a cache, ready to be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredCache {
    /// What goes under the cache's names.
    pub(crate) config: Vec<u8>,
    /// The blobs of the layers, each once.
    pub(crate) blobs: Vec<oci::Descriptor>,
}

impl StoredCache {
    /// Puts records into words, as [`BuiltCache`](crate::BuiltCache) does.
    pub(crate) fn new(
        records: &[ExportRecord<Vec<CacheLayer>>],
        available: impl Fn(&Digest) -> bool,
    ) -> Result<Option<Self>, BuildError> {
        let (mut config, blobs) = build::config(records, available)?;
        if config.layers.is_empty() {
            return Ok(None);
        }
        for layer in &mut config.layers {
            layer.annotations = blobs.get(&layer.blob).map(annotations);
        }
        let blobs = blobs.values().map(Descriptor::to_oci);
        Ok(Some(Self {
            config: model::encode(&config)?,
            blobs: blobs.collect::<Result<_, _>>()?,
        }))
    }
}

fn annotations(blob: &Descriptor) -> LayerAnnotations {
    let text = |key| blob.annotation(key).unwrap_or_default().to_owned();
    LayerAnnotations {
        media_type: blob.media_type.clone(),
        diff_id: text(UNCOMPRESSED),
        size: blob.size,
        created_at: blob
            .annotation(CREATED_AT)
            .map_or_else(Created::default, |created| Created(created.to_owned())),
    }
}

/// The descriptors of a config's layers, as a manifest would list them; layers that say nothing of themselves are
/// explained in `warnings`.
pub(crate) fn descriptors(config: &CacheConfig, warnings: &mut Vec<String>) -> Vec<Descriptor> {
    let mut listed = Vec::with_capacity(config.layers.len());
    for layer in &config.layers {
        let Some(annotations) = &layer.annotations else {
            warnings.push(format!(
                "cache layer {} cannot be used: it has no annotations",
                layer.blob
            ));
            continue;
        };
        let mut known = std::collections::BTreeMap::new();
        if !annotations.diff_id.is_empty() {
            known.insert(UNCOMPRESSED.to_owned(), annotations.diff_id.clone());
        }
        if annotations.created_at != Created::default() {
            known.insert(CREATED_AT.to_owned(), annotations.created_at.0.clone());
        }
        listed.push(Descriptor {
            media_type: annotations.media_type.clone(),
            digest: layer.blob.clone(),
            size: annotations.size,
            annotations: Some(known),
            platform: None,
        });
    }
    listed
}
