//! Stores that know blobs and names: buckets, web servers, GitHub's cache service. Each is one [`CacheStore`].

mod aws_profile;
mod azblob;
mod blob;
mod bucket;
mod download;
mod environment;
mod error;
mod gcs;
mod gha;
mod http;
mod read;
mod s3;
mod transfer;
mod web;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use kiln_store::refs::FetchStream;
use oci_spec::image::Descriptor;

use crate::options::StoreOptions;

pub(crate) use blob::BlobSource;
pub use environment::StoreEnvironment;
pub use error::StoreError;
pub(crate) use read::read;
pub(crate) use transfer::send;

/// A store that is ready to be used.
#[derive(Clone)]
pub struct RemoteStore(pub(crate) Arc<dyn CacheStore>);

impl RemoteStore {
    /// Finds credentials and prepares clients. The store itself is asked for nothing yet.
    pub async fn open(
        options: &StoreOptions,
        environment: &StoreEnvironment,
        client: &kiln_registry::Client,
    ) -> Result<Self, StoreError> {
        let title = options.title();
        let door = Door {
            environment,
            client,
            title,
        };
        let store: Arc<dyn CacheStore> = match options {
            StoreOptions::S3(options) => Arc::new(s3::open(options, door).await?),
            StoreOptions::Azblob(options) => Arc::new(azblob::open(options, door)?),
            StoreOptions::Gcs(options) => Arc::new(gcs::open(options, door).await?),
            StoreOptions::Http(options) => Arc::new(http::open(options, door)?),
            StoreOptions::Gha(options) => Arc::new(gha::open(options, door)?),
        };
        Ok(Self(store))
    }
}

/// What a store is opened with.
struct Door<'a> {
    environment: &'a StoreEnvironment,
    client: &'a kiln_registry::Client,
    title: String,
}

impl Door<'_> {
    fn setup(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Setup {
            title: self.title.clone(),
            reason: reason.into(),
        }
    }
}

/// What has to be done so that a store has a blob.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Task {
    /// Send it.
    Send(Descriptor),
    /// It is there, and must be kept from growing old.
    Touch(Descriptor),
}

/// Something that holds a cache: blobs under their digest, and configs under names.
#[async_trait]
pub(crate) trait CacheStore: Send + Sync {
    /// The names to read, the one to prefer first.
    fn readable(&self) -> Vec<String>;

    /// The names to write.
    fn writable(&self) -> Vec<String>;

    /// How many blobs are sent at the same time.
    fn parallelism(&self) -> usize;

    /// Makes the store ready to be written to.
    async fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Reads what is under a name, at most `limit` bytes; `None` if there is nothing.
    async fn read(&self, name: &str, limit: u64) -> Result<Option<Bytes>, StoreError>;

    /// Puts a config under a name; it appears as a whole.
    async fn write(&self, name: &str, config: Bytes) -> Result<(), StoreError>;

    /// Finds out which blobs the store lacks, with as few questions as possible.
    async fn plan(&self, blobs: &[Descriptor]) -> Result<Vec<Task>, StoreError>;

    /// Does what was planned.
    async fn carry_out(&self, task: &Task, source: &BlobSource<'_>) -> Result<(), StoreError>;

    /// Opens a blob. Whether its bytes are right is for the reader to check.
    async fn open(&self, blob: &Descriptor) -> Result<FetchStream, StoreError>;
}
