//! Where a cache is: a directory, here or with a client, a repository, or a store.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use kiln_registry::Repository;
use kiln_session::{RemoteContent, content};
use kiln_store::ContentStore;
use kiln_store::refs::{Fetch, FetchError, FetchStream};
use oci_spec::image::{self as oci, Digest};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;

use crate::directory;
use crate::losses::Losses;
use crate::model::Descriptor;
use crate::stores::RemoteStore;

/// Manifests and configs are read as a whole.
pub(crate) const LIMIT: u64 = 32 << 20;

/// Something that holds a cache's blobs.
#[derive(Clone)]
pub enum Place {
    /// An OCI layout directory.
    Directory(PathBuf),
    /// A repository in a registry, with the credentials to use there.
    Repository(Repository),
    /// A directory of a client elsewhere.
    Client(Arc<dyn RemoteContent>),
    /// A store that knows blobs and names.
    Store(RemoteStore),
}

/// Why a blob could not be read.
pub(crate) type ReadError = Box<dyn std::error::Error + Send + Sync>;

impl Place {
    /// Reads a blob, verified, of at most `limit` bytes.
    pub(crate) async fn read(
        &self,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, ReadError> {
        if descriptor.size > limit {
            let (digest, size) = (&descriptor.digest, descriptor.size);
            return Err(format!("blob {digest} is too large ({size} > {limit})").into());
        }
        let blob = descriptor.to_oci()?;
        let digest = blob.digest();
        let bytes = match self {
            Self::Directory(path) => {
                let path = directory::blob_path(path, digest.as_ref());
                tokio::task::spawn_blocking(move || directory::read_bounded(&path, limit)).await??
            }
            Self::Repository(repository) => {
                let mut stream = repository.blob(&blob);
                let mut bytes = Vec::new();
                while let Some(piece) = stream.next().await? {
                    bytes.extend_from_slice(&piece);
                }
                bytes
            }
            Self::Client(store) => content::read_blob(&**store, digest, limit).await?,
            Self::Store(store) => {
                let stream = store.0.open(&blob).await?;
                let mut bytes = Vec::new();
                stream.take(limit).read_to_end(&mut bytes).await?;
                bytes
            }
        };
        let found = hex::encode(Sha256::digest(&bytes));
        match found == digest.digest() {
            true => Ok(bytes),
            false => Err(format!("blob {digest} has digest sha256:{found}: it is damaged").into()),
        }
    }

    /// Whether a blob is here, as far as that can be told without the network.
    pub(crate) fn may_have(&self, descriptor: &oci::Descriptor) -> bool {
        match self {
            Self::Directory(path) => directory::has(
                &directory::blob_path(path, descriptor.digest().as_ref()),
                descriptor.size(),
            ),
            Self::Repository(_) | Self::Store(_) => true,
            Self::Client(store) => !store.is_gone(),
        }
    }

    /// Brings a blob, verified, into the content store.
    pub(crate) async fn bring(
        &self,
        descriptor: &oci::Descriptor,
        content: &ContentStore,
    ) -> Result<(), FetchError> {
        match self {
            Self::Repository(repository) => {
                repository.fetch_blob(descriptor, content, &|_| {}).await?;
                Ok(())
            }
            Self::Directory(path) => {
                let path = directory::blob_path(path, descriptor.digest().as_ref());
                let (content, descriptor) = (content.clone(), descriptor.clone());
                tokio::task::spawn_blocking(move || {
                    let mut file = std::fs::File::open(&path)
                        .map_err(|error| format!("open {}: {error}", path.display()))?;
                    let mut writer =
                        content.writer(Some((descriptor.digest(), Some(descriptor.size()))))?;
                    std::io::copy(&mut file, &mut writer)?;
                    writer.commit()?;
                    Ok(())
                })
                .await?
            }
            Self::Client(store) => {
                let reader = content::reader_of(store.read(descriptor.digest(), 0).await?);
                kiln_store::refs::keep(reader, descriptor, content, &|_| {}).await
            }
            Self::Store(store) => {
                let reader = store.0.open(descriptor).await?;
                kiln_store::refs::keep(reader, descriptor, content, &|_| {}).await
            }
        }
    }
}

/// Brings one layer of an imported cache into the store.
pub(crate) struct PlaceFetch {
    pub(crate) place: Place,
    pub(crate) content: ContentStore,
    pub(crate) blob: Digest,
    pub(crate) losses: Losses,
}

#[async_trait]
impl Fetch for PlaceFetch {
    async fn fetch(&self, descriptor: &oci::Descriptor) -> Result<(), FetchError> {
        let fetched = self.place.bring(descriptor, &self.content).await;
        if let Err(error) = &fetched {
            self.losses.add(&self.blob, error.as_ref());
        }
        fetched
    }

    async fn stream(
        &self,
        descriptor: &oci::Descriptor,
    ) -> Result<Option<FetchStream>, FetchError> {
        match &self.place {
            Place::Repository(repository) => Ok(Some(repository.blob(descriptor).into_reader())),
            Place::Directory(path) => {
                let path = directory::blob_path(path, descriptor.digest().as_ref());
                Ok(Some(Box::new(tokio::fs::File::open(path).await?)))
            }
            Place::Client(store) => {
                let stream = store.read(descriptor.digest(), 0).await?;
                Ok(Some(content::reader_of(stream)))
            }
            Place::Store(store) => Ok(Some(store.0.open(descriptor).await?)),
        }
    }

    fn is_possible(&self) -> bool {
        let is_gone = matches!(&self.place, Place::Client(store) if store.is_gone());
        !is_gone && !self.losses.has(&self.blob)
    }
}
