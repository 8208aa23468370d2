//! Layer blobs, made in one pass and once per store.

mod growing;
mod media_type;
mod recompress;
mod variant;
mod work;

use std::time::SystemTime;

use oci_spec::image::{Descriptor, Digest};

pub(crate) use growing::{BlobObserver, GrowingBlob};
pub(crate) use media_type::{Foreign, for_manifest, is_distributable};
pub use variant::any_blob;
pub(crate) use work::{Absent, LayerWork, Wanted};

/// One layer of a ref as a blob in the content store.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerBlob {
    /// Media type (OCI's), digest, size, and the annotations the blob came with.
    pub descriptor: Descriptor,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// When the layer was made.
    pub created: Option<SystemTime>,
    /// What made it, for image histories.
    pub description: String,
}

/// Why a layer's blob could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// Reading the layer's files failed.
    #[error(transparent)]
    Read(#[from] kiln_store::diff::DiffError),
    /// Compressing or writing the blob failed.
    #[error("write the blob of layer {layer}: {source}")]
    Write {
        /// The layer.
        layer: String,
        /// Why.
        source: std::io::Error,
    },
    /// A blob does not hold the layer it stands for.
    #[error(
        "layer blob {blob} holds {found}, not {expected}: it was changed on disk; prune it and build again"
    )]
    Corrupt {
        /// The blob.
        blob: String,
        /// The diff id expected.
        expected: String,
        /// The diff id found.
        found: String,
    },
    /// The store failed, or the layer could not be fetched from where it comes from.
    #[error(transparent)]
    Store(#[from] kiln_store::StoreError),
    /// A layer of which nothing is left.
    #[error("layer {0} has neither files nor a blob in the store; build again with --no-cache")]
    Missing(String),
    /// A thread that worked on the layer has ended unexpectedly.
    #[error("work on layer {0} ended unexpectedly")]
    Ended(String),
}

impl From<kiln_store::content::ContentError> for LayerError {
    fn from(error: kiln_store::content::ContentError) -> Self {
        Self::Store(error.into())
    }
}
