//! Layer blobs, made once per store.

use std::time::SystemTime;

use oci_spec::image::{Descriptor, Digest};

/// One layer of a ref as a blob in the content store.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerBlob {
    /// Media type, digest, size and the annotations the blob came with. Media types are OCI's.
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
    /// Reading the layer's files or writing its blob failed.
    #[error("make the blob of layer {layer}: {source}")]
    Write {
        /// The layer.
        layer: String,
        /// Why.
        source: std::io::Error,
    },
    /// The blob could not be fetched from where the layer comes from.
    #[error("fetch layer blob {digest}: {source}")]
    Fetch {
        /// The blob.
        digest: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store failed.
    #[error("{0}")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}
