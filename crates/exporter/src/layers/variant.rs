//! Forms of a layer's blob, and what is remembered of those made before.

use std::collections::BTreeMap;
use std::str::FromStr;

use kiln_store::Ref;
use kiln_store::refs::{LayerBlob as StoredBlob, LayerInfo};
use oci_spec::image::{Descriptor, Digest, MediaType};
use serde::{Deserialize, Serialize};

use super::{LayerError, media_type};
use crate::compression::{Algorithm, Compression};

/// Name under which a layer keeps the forms made of it, beside the usual one that the store knows.
const KEPT: &str = "exporter.variants";
/// Name under which a layer keeps that its first blob was made here, so that its form is free to choose.
const MADE_HERE: &str = "exporter.made-here";

/// Annotation that tells to which second a layer's times were brought down.
const REWRITTEN: &str = "buildkit/rewritten-timestamp";

/// A form that a layer's blob can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Variant {
    pub(super) algorithm: Algorithm,
    /// `None` is the usual level.
    pub(super) level: Option<i32>,
    /// Times brought down to this second.
    pub(super) epoch: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    variant: Variant,
    digest: String,
    size: u64,
    diff_id: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Variant {
    /// The form that is asked for. The usual level is the same whether it is given or not.
    pub(super) fn new(compression: &Compression, epoch: Option<i64>) -> Self {
        let Compression {
            algorithm, level, ..
        } = *compression;
        Self {
            algorithm,
            level: level
                .filter(|level| algorithm.usual_level().is_some_and(|usual| usual != *level)),
            epoch,
        }
    }

    /// The descriptor of a blob that was made in this form.
    pub(super) fn describe(
        &self,
        blob: kiln_store::Blob,
        mut annotations: BTreeMap<String, String>,
    ) -> Descriptor {
        let media_type = MediaType::from(self.algorithm.media_type());
        let mut descriptor = Descriptor::new(media_type, blob.size, blob.digest);
        annotations.extend(
            self.epoch
                .map(|epoch| (REWRITTEN.to_owned(), epoch.to_string())),
        );
        if !annotations.is_empty() {
            descriptor.set_annotations(Some(annotations.into_iter().collect()));
        }
        descriptor
    }

    pub(super) fn compression(&self) -> Compression {
        Compression {
            algorithm: self.algorithm,
            level: self.level,
            force: false,
        }
    }

    /// Whether this is the form that the store itself records. It knows one tar of each layer, and an eStargz's is
    /// another; it tells blobs apart by their media types, which zstd:chunked shares.
    fn is_usual(&self) -> bool {
        let has_table = matches!(self.algorithm, Algorithm::Estargz | Algorithm::ZstdChunked);
        self.level.is_none() && self.epoch.is_none() && !has_table
    }

    /// Whether a blob that came with a layer is in this form, leaving its level aside.
    pub(super) fn is_of(&self, blob: &Descriptor) -> bool {
        media_type::is_of(blob, self.algorithm)
    }
}

/// Whether the layer's blobs were all made here. A layer that came with a blob keeps it unless forced.
pub(super) fn made_here(info: &LayerInfo) -> Result<bool, LayerError> {
    Ok(info.blobs.is_empty() || info.owner.value(MADE_HERE)?.is_some())
}

/// The blob of this form, if one was recorded. It may be absent from the content store.
pub(super) fn recorded(
    info: &LayerInfo,
    variant: &Variant,
) -> Result<Option<StoredBlob>, LayerError> {
    if variant.is_usual() {
        let found = info
            .blobs
            .iter()
            .find(|blob| variant.is_of(blob))
            .zip(info.diff_id.as_ref());
        return Ok(found.map(|(descriptor, diff_id)| StoredBlob {
            descriptor: descriptor.clone(),
            diff_id: diff_id.clone(),
        }));
    }
    let kept = read(&info.owner)?;
    Ok(kept
        .iter()
        .find(|kept| kept.variant == *variant)
        .and_then(Kept::blob))
}

/// A blob that stands for a layer wherever one is named: the one it came with or of the usual form, else of the form that
/// was made last. `None` if none was made; it may be absent from the content store.
pub fn any_blob(info: &LayerInfo) -> Result<Option<Descriptor>, LayerError> {
    if let Some(first) = info.blobs.first() {
        return Ok(Some(first.clone()));
    }
    let last = read(&info.owner)?.last().and_then(Kept::blob);
    Ok(last.map(|blob| blob.descriptor))
}

/// Remembers a blob that was made.
pub(super) fn record(
    store: &kiln_store::Store,
    info: &LayerInfo,
    variant: &Variant,
    blob: &StoredBlob,
) -> Result<(), LayerError> {
    if info.blobs.is_empty() {
        info.owner.set_value(MADE_HERE, b"1")?;
    }
    if variant.is_usual() {
        store.set_layer_blob(&info.owner, blob.clone())?;
        return Ok(());
    }
    let mut kept = read(&info.owner)?;
    kept.retain(|kept| kept.variant != *variant);
    kept.push(Kept {
        variant: *variant,
        annotations: blob
            .descriptor
            .annotations()
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect(),
        digest: blob.descriptor.digest().to_string(),
        size: blob.descriptor.size(),
        diff_id: blob.diff_id.to_string(),
    });
    store.attach_blob(&info.owner, blob.descriptor.digest())?;
    // What cannot be written down is only made again.
    if let Ok(bytes) = serde_json::to_vec(&kept) {
        info.owner.set_value(KEPT, &bytes)?;
    }
    Ok(())
}

fn read(owner: &Ref) -> Result<Vec<Kept>, LayerError> {
    let bytes = owner.value(KEPT)?;
    Ok(bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default())
}

impl Kept {
    fn blob(&self) -> Option<StoredBlob> {
        let digest = Digest::from_str(&self.digest).ok()?;
        let blob = kiln_store::Blob {
            digest,
            size: self.size,
        };
        let descriptor = self.variant.describe(blob, self.annotations.clone());
        Some(StoredBlob {
            descriptor,
            diff_id: Digest::from_str(&self.diff_id).ok()?,
        })
    }
}
