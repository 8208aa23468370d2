//! The layers a ref is exported as, and the blobs known for each.

use std::path::PathBuf;
use std::time::SystemTime;

use oci_spec::image::{Descriptor, Digest};

use super::Ref;

/// One layer of a ref.
#[derive(Debug, Clone)]
pub struct LayerInfo {
    /// The ref that owns the layer: hand it to [`crate::Store::set_layer_blob`]. Holding it holds the layer.
    pub owner: Ref,
    /// The overlay upper directory (whiteouts as 0:0 devices, opaque directories by xattr), or `None` while the
    /// layer is lazy.
    pub dir: Option<PathBuf>,
    /// The directories it was made on top of, bottom first: what its opaque directories hide. Empty for a base
    /// layer and for lazy ones.
    pub below: Vec<PathBuf>,
    /// The digest of its uncompressed tar, if known.
    pub diff_id: Option<Digest>,
    /// Blobs of this layer known so far, one for each compression; they may be absent from the content store when
    /// the layer is lazy.
    pub blobs: Vec<Descriptor>,
    /// When it was made.
    pub created: SystemTime,
    /// The description of its ref.
    pub description: String,
}

/// A layer's blob that somebody made or found.
#[derive(Debug, Clone)]
pub struct LayerBlob {
    /// The blob: media type, digest, size, annotations.
    pub descriptor: Descriptor,
    /// The digest of its uncompressed tar.
    pub diff_id: Digest,
}
