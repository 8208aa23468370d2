//! What a cached result consists of.

use std::time::SystemTime;

use oci_spec::image::{Descriptor, Digest};

/// One layer of a cached result, as a blob. A result is a list of them, bottom first.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheLayer {
    /// The blob.
    pub descriptor: Descriptor,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// When the layer was made.
    pub created: Option<SystemTime>,
    /// What made it; only known of layers that come from an image.
    pub description: String,
}
