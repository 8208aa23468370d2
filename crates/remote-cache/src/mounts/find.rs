//! Where the mounts of a cache are, and reading them there.

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use kiln_registry::{Reference, Repository};
use kiln_session::RemoteContent;
use kiln_store::ContentStore;
use oci_spec::image::Digest;

use super::artifact::{Artifact, SUFFIX, tag_of};
use super::index::{self, Blob, Index};
use super::keys::MountKeys;
use crate::directory;
use crate::model::Descriptor;
use crate::options::{Destination, ImportOptions, Version};
use crate::place::{Place, ReadError};
use crate::stores::{BlobSource, RemoteStore, Task};

/// Manifests are read as a whole.
const MANIFEST_LIMIT: u64 = 4 << 20;
/// Questions at the same time.
const QUESTIONS: usize = 16;

/// Where mounts are kept, with the name they have there.
#[derive(Clone)]
pub(super) enum Spot {
    Directory {
        path: PathBuf,
        tag: String,
    },
    Repository {
        repository: Repository,
        reference: Box<Reference>,
    },
    /// Names are with the client; this is the manifest that it told.
    Client {
        store: Arc<dyn RemoteContent>,
        digest: Option<Digest>,
    },
    /// The names are those of the cache, with something behind them.
    Store(RemoteStore),
}

impl Spot {
    /// Beside a cache that is exported.
    pub(super) fn of_export(
        destination: &Destination,
        keys: &MountKeys,
        way: Option<&Place>,
    ) -> Result<Self, ReadError> {
        match (destination, way) {
            (Destination::Directory { .. }, Some(Place::Client(store))) => Ok(Self::Client {
                store: store.clone(),
                digest: keys.digest.clone(),
            }),
            (Destination::Directory { path, tag, .. }, _) => Ok(Self::Directory {
                path: path.clone(),
                tag: tag_of(tag)?,
            }),
            (Destination::Registry { reference, .. }, Some(Place::Repository(repository))) => {
                let reference = beside(reference)?;
                let reference = reference.ok_or("the cache has a digest for a name, not a tag")?;
                Ok(Self::Repository {
                    repository: repository.clone(),
                    reference: Box::new(reference),
                })
            }
            (Destination::Store(_), Some(Place::Store(store))) => Ok(Self::Store(store.clone())),
            _ => Err("there is no way to where the cache is".into()),
        }
    }

    /// Beside a cache that is imported; `None` where none can be.
    pub(super) fn of_import(
        options: &ImportOptions,
        keys: &MountKeys,
        way: Option<Place>,
    ) -> Result<Option<Self>, ReadError> {
        match (options, way) {
            (ImportOptions::Directory { .. }, Some(Place::Client(store))) => {
                let digest = keys.digest.clone();
                Ok(digest.map(|digest| Self::Client {
                    store,
                    digest: Some(digest),
                }))
            }
            (ImportOptions::Directory { path, version }, _) => match version {
                Version::Tag(tag) => Ok(Some(Self::Directory {
                    path: path.clone(),
                    tag: tag_of(tag)?,
                })),
                Version::Digest(_) => Ok(None),
            },
            (ImportOptions::Registry { reference, .. }, Some(Place::Repository(repository))) => {
                let reference = beside(reference)?;
                Ok(reference.map(|reference| Self::Repository {
                    repository,
                    reference: Box::new(reference),
                }))
            }
            (ImportOptions::Store(_), Some(Place::Store(store))) => Ok(Some(Self::Store(store))),
            _ => Ok(None),
        }
    }

    /// The same as a holder of blobs.
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Directory { path, .. } => Place::Directory(path.clone()),
            Self::Repository { repository, .. } => Place::Repository(repository.clone()),
            Self::Client { store, .. } => Place::Client(store.clone()),
            Self::Store(store) => Place::Store(store.clone()),
        }
    }

    /// The index of the mounts that are here, if there are any.
    pub(super) async fn index(&self) -> Result<Option<Index>, ReadError> {
        if let Self::Store(store) = self {
            return stored_index(store).await;
        }
        let Some(manifest) = self.manifest().await? else {
            return Ok(None);
        };
        let artifact = Artifact::parse(&manifest)?;
        let bytes = self.place().read(&artifact.config, index::LIMIT).await?;
        parse(bytes.into()).await.map(Some)
    }

    async fn manifest(&self) -> Result<Option<Vec<u8>>, ReadError> {
        match self {
            Self::Directory { path, tag } => {
                let (root, tag) = (path.clone(), tag.clone());
                let find = move || match directory::is_layout(&root) {
                    true => directory::find_tag(&root, &tag),
                    false => Ok(None),
                };
                let Some(found) = tokio::task::spawn_blocking(find).await?? else {
                    return Ok(None);
                };
                self.place().read(&found, MANIFEST_LIMIT).await.map(Some)
            }
            Self::Repository {
                repository,
                reference,
            } => {
                let descriptor = match repository.resolve(reference).await {
                    Ok(descriptor) => descriptor,
                    Err(error) if error.is_not_found() => return Ok(None),
                    Err(error) => return Err(error.into()),
                };
                Ok(Some(repository.manifest(&descriptor).await?.to_vec()))
            }
            Self::Client { digest: None, .. } | Self::Store(_) => Ok(None),
            Self::Client {
                store,
                digest: Some(digest),
            } => {
                let Some(size) = store.size(digest).await? else {
                    return Ok(None);
                };
                let descriptor = Descriptor {
                    digest: digest.to_string(),
                    size,
                    ..Descriptor::default()
                };
                let place = self.place();
                place.read(&descriptor, MANIFEST_LIMIT).await.map(Some)
            }
        }
    }

    /// Which of these blobs are here. Where blobs grow old, they are made young again.
    pub(super) async fn present(&self, blobs: &[Blob]) -> Result<Vec<bool>, ReadError> {
        if let Self::Store(store) = self {
            let missing = missing(store, blobs).await?;
            let present = blobs.iter().map(|blob| !missing.contains(&blob.digest));
            return Ok(present.collect());
        }
        let questions: Vec<_> = blobs.iter().map(|blob| self.has(blob)).collect();
        stream::iter(questions)
            .buffered(QUESTIONS)
            .try_collect()
            .await
    }

    async fn has(&self, blob: &Blob) -> Result<bool, ReadError> {
        let digest = Digest::from_str(&blob.digest)?;
        match self {
            Self::Directory { path, .. } => {
                let path = directory::blob_path(path, &blob.digest);
                let size = blob.size;
                let look = move || directory::has(&path, size);
                Ok(tokio::task::spawn_blocking(look).await?)
            }
            Self::Repository { repository, .. } => Ok(repository.has_blob(&digest).await?),
            Self::Client { store, .. } => Ok(store.size(&digest).await? == Some(blob.size)),
            Self::Store(_) => Ok(false),
        }
    }

    /// A pack as a file on this machine. Whether its bytes are right is for the reader of its chunks to check.
    pub(super) async fn fetch(
        &self,
        pack: &Blob,
        content: &ContentStore,
    ) -> Result<File, ReadError> {
        if let Self::Directory { path, .. } = self {
            let path = directory::blob_path(path, &pack.digest);
            let size = pack.size;
            let open = move || match directory::has(&path, size) {
                true => File::open(&path).map_err(ReadError::from),
                false => Err(format!("{} is missing or damaged", path.display()).into()),
            };
            return tokio::task::spawn_blocking(open).await?;
        }
        let descriptor = pack.pack().to_oci()?;
        self.place().bring(&descriptor, content).await?;
        let content = content.clone();
        let open = move || content.open(descriptor.digest());
        Ok(tokio::task::spawn_blocking(open).await??)
    }
}

async fn parse(bytes: Bytes) -> Result<Index, ReadError> {
    let parse = move || Index::parse(&bytes);
    Ok(tokio::task::spawn_blocking(parse).await??)
}

/// The first index under the names that may be read. One that is wrong does not keep from using another.
async fn stored_index(store: &RemoteStore) -> Result<Option<Index>, ReadError> {
    let mut wrong = None;
    for name in store.0.readable() {
        let found = match store.0.read(&name_of(&name), index::LIMIT).await {
            Ok(Some(bytes)) => parse(bytes).await,
            Ok(None) => continue,
            Err(error) => Err(error.into()),
        };
        match found {
            Ok(index) => return Ok(Some(index)),
            Err(error) => wrong = Some(error),
        }
    }
    wrong.map_or(Ok(None), Err)
}

/// The blobs that a store lacks.
async fn missing(store: &RemoteStore, blobs: &[Blob]) -> Result<HashSet<String>, ReadError> {
    let blobs = blobs.iter().map(|blob| blob.pack().to_oci());
    let blobs: Vec<_> = blobs.collect::<Result<_, _>>()?;
    let mut missing = HashSet::new();
    for task in store.0.plan(&blobs).await? {
        match &task {
            Task::Send(blob) => {
                missing.insert(blob.digest().to_string());
            }
            // Without the blob's bytes: where they are needed for this, it fails, and the blob is made anew.
            Task::Touch(blob) => {
                let nothing = BlobSource::Bytes(Bytes::new());
                if store.0.carry_out(&task, &nothing).await.is_err() {
                    missing.insert(blob.digest().to_string());
                }
            }
        }
    }
    Ok(missing)
}

/// The name of the mounts beside a cache in a store.
pub(super) fn name_of(cache: &str) -> String {
    format!("{cache}{SUFFIX}")
}

/// The name of the mounts beside a cache in a registry; `None` if that has a digest and no tag.
fn beside(cache: &Reference) -> Result<Option<Reference>, ReadError> {
    let cache = cache.clone().with_default_tag();
    match cache.tag() {
        Some(tag) => Ok(Some(cache.without_version().with_tag(&tag_of(tag)?)?)),
        None => Ok(None),
    }
}
