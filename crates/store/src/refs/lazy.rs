//! Layers that are not here yet and know how to fetch themselves.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use oci_spec::image::{Descriptor, Digest};
use tokio::io::AsyncRead;

use super::RecordType;

/// Why a blob could not be fetched; the implementer's error.
pub type FetchError = Box<dyn std::error::Error + Send + Sync>;

/// The bytes of a blob as they arrive.
pub type FetchStream = Box<dyn AsyncRead + Send + Unpin>;

/// How a lazy layer's blob is brought here.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// Brings the verified blob into the content store, with whatever retries make sense. Called when there is no
    /// stream or the stream broke off.
    async fn fetch(&self, descriptor: &Descriptor) -> Result<(), FetchError>;

    /// Opens the blob's bytes from its start, so that it can be unpacked while it arrives; the store verifies
    /// them and keeps the blob. `None` if only [`Fetch::fetch`] is offered.
    async fn stream(&self, _descriptor: &Descriptor) -> Result<Option<FetchStream>, FetchError> {
        Ok(None)
    }
}

/// A layer to be fetched when its files are needed.
#[derive(Clone)]
pub struct LazyLayer {
    /// The blob: media type (which tells the compression), digest and size.
    pub descriptor: Descriptor,
    /// The digest of its uncompressed tar, verified when it is unpacked.
    pub diff_id: Digest,
    /// How to get it.
    pub fetch: Arc<dyn Fetch>,
    /// Told by `du --verbose`, such as "pulled from docker.io/library/alpine:latest".
    pub description: String,
    /// What it is for.
    pub record_type: RecordType,
    /// When it was made (from the image's history); now, if `None`.
    pub created: Option<SystemTime>,
}
