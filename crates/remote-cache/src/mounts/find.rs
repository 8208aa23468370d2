//! Where the mounts of a cache are, and reading them there.

use std::fs::File;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use kiln_registry::{Reference, Repository};
use kiln_session::{RemoteContent, content};
use kiln_store::ContentStore;
use oci_spec::image::Digest;

use super::artifact::{Artifact, tag_of};
use super::index::{self, Blob, Index};
use super::keys::MountKeys;
use crate::directory;
use crate::model::Descriptor;
use crate::options::{Destination, ImportOptions, Version};
use crate::place::{Place, ReadError};

/// Manifests are read as a whole.
const MANIFEST_LIMIT: u64 = 4 << 20;

/// Where mounts are kept, with the name they have there.
#[derive(Clone)]
pub(super) enum Spot {
    Directory {
        path: PathBuf,
        tag: String,
    },
    Repository {
        repository: Repository,
        reference: Reference,
    },
    /// Names are with the client; this is the manifest that it told.
    Client {
        store: Arc<dyn RemoteContent>,
        digest: Option<Digest>,
    },
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
                    reference,
                })
            }
            _ => Err("mounts are kept beside caches of type=local and type=registry only".into()),
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
                    reference,
                }))
            }
            _ => Ok(None),
        }
    }

    /// The same as a holder of blobs.
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Directory { path, .. } => Place::Directory(path.clone()),
            Self::Repository { repository, .. } => Place::Repository(repository.clone()),
            Self::Client { store, .. } => Place::Client(store.clone()),
        }
    }

    /// The index of the mounts that are here, if there are any.
    pub(super) async fn index(&self) -> Result<Option<Index>, ReadError> {
        let Some(manifest) = self.manifest().await? else {
            return Ok(None);
        };
        let artifact = Artifact::parse(&manifest)?;
        let bytes = self.place().read(&artifact.config, index::LIMIT).await?;
        let parse = move || Index::parse(&bytes);
        Ok(Some(tokio::task::spawn_blocking(parse).await??))
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
            Self::Client { digest: None, .. } => Ok(None),
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

    /// Whether a pack is here.
    pub(super) async fn has(&self, pack: &Blob) -> bool {
        let Ok(digest) = Digest::from_str(&pack.digest) else {
            return false;
        };
        match self {
            Self::Directory { path, .. } => {
                let path = directory::blob_path(path, &pack.digest);
                let size = pack.size;
                let look = move || directory::has(&path, size);
                tokio::task::spawn_blocking(look).await.unwrap_or(false)
            }
            Self::Repository { repository, .. } => {
                repository.has_blob(&digest).await.unwrap_or(false)
            }
            Self::Client { store, .. } => {
                let size = store.size(&digest).await;
                size.is_ok_and(|size| size == Some(pack.size))
            }
        }
    }

    /// A pack as a file on this machine. Whether its bytes are right is for the reader of its chunks to check.
    pub(super) async fn fetch(
        &self,
        pack: &Blob,
        content: &ContentStore,
    ) -> Result<File, ReadError> {
        let descriptor = pack.pack().to_oci()?;
        match self {
            Self::Directory { path, .. } => {
                let path = directory::blob_path(path, &pack.digest);
                let size = pack.size;
                let open = move || match directory::has(&path, size) {
                    true => File::open(&path).map_err(ReadError::from),
                    false => Err(format!("{} is missing or damaged", path.display()).into()),
                };
                return tokio::task::spawn_blocking(open).await?;
            }
            Self::Repository { repository, .. } => {
                repository.fetch_blob(&descriptor, content, &|_| {}).await?;
            }
            Self::Client { store, .. } => {
                let reader = content::reader_of(store.read(descriptor.digest(), 0).await?);
                kiln_store::refs::keep(reader, &descriptor, content, &|_| {}).await?;
            }
        }
        let content = content.clone();
        let open = move || content.open(descriptor.digest());
        Ok(tokio::task::spawn_blocking(open).await??)
    }
}

/// The name of the mounts beside a cache in a registry; `None` if that has a digest and no tag.
fn beside(cache: &Reference) -> Result<Option<Reference>, ReadError> {
    let cache = cache.clone().with_default_tag();
    match cache.tag() {
        Some(tag) => Ok(Some(cache.without_version().with_tag(&tag_of(tag)?)?)),
        None => Ok(None),
    }
}
