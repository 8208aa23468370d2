//! The place an image's documents and layers are had from.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kiln_containerd::Containerd;
use kiln_registry::Repository;
use kiln_session::RemoteContent;
use kiln_store::{ContentStore, Store};
use oci_spec::image::{Descriptor, Digest};

use crate::blocking::blocking;
use crate::error::SourceError;

/// Larger configs and manifests are refused.
const MAX_DOCUMENT: u64 = 8 << 20;
const COPY_BUFFER: usize = 1 << 20;

/// A registry's repository, a containerd, or a directory.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) place: Place,
    pub(super) store: Store,
}

#[derive(Clone)]
pub(super) enum Place {
    Registry(Repository),
    /// A containerd; what it lacks may be in the image's repository.
    Containerd(Containerd, Repository),
    Layout(PathBuf),
    /// A layout of a client elsewhere.
    Client(Arc<dyn RemoteContent>),
}

impl Origin {
    /// A manifest or index: from the content store if it is there, else it is put there.
    pub(super) async fn manifest(&self, descriptor: &Descriptor) -> Result<Bytes, SourceError> {
        self.document(descriptor, Kind::Manifest).await
    }

    /// An image's config, likewise.
    pub(super) async fn config(&self, descriptor: &Descriptor) -> Result<Bytes, SourceError> {
        self.document(descriptor, Kind::Blob).await
    }

    async fn document(&self, descriptor: &Descriptor, kind: Kind) -> Result<Bytes, SourceError> {
        if let Some(bytes) = self.stored(descriptor.digest()).await? {
            return Ok(bytes);
        }
        if descriptor.size() > MAX_DOCUMENT {
            let reason = format!(
                "{} bytes are more than the {MAX_DOCUMENT} allowed",
                descriptor.size()
            );
            return Err(SourceError::Image {
                reference: descriptor.digest().to_string(),
                reason,
            });
        }
        if let Place::Containerd(containerd, _) = &self.place {
            let content = self.store.content();
            if super::containerd::receive(containerd, descriptor, content, &|_| {}).await? {
                return self.read(descriptor.digest()).await;
            }
        }
        match (&self.place, kind) {
            (Place::Registry(repository) | Place::Containerd(_, repository), Kind::Manifest) => {
                let bytes = repository.manifest(descriptor).await?;
                let (content, copy) = (self.store.content().clone(), bytes.clone());
                blocking(move || content.put(&copy).map_err(store_error)).await?;
                Ok(bytes)
            }
            (Place::Registry(repository) | Place::Containerd(_, repository), Kind::Blob) => {
                repository
                    .fetch_blob(descriptor, self.store.content(), &|_| {})
                    .await?;
                self.read(descriptor.digest()).await
            }
            (Place::Layout(path), _) => {
                let (path, content, descriptor) = (
                    path.clone(),
                    self.store.content().clone(),
                    descriptor.clone(),
                );
                let digest = descriptor.digest().clone();
                blocking(move || import(&path, &descriptor, &content, &|_| {})).await?;
                self.read(&digest).await
            }
            (Place::Client(store), _) => {
                receive(&**store, descriptor, self.store.content(), &|_| {}).await?;
                self.read(descriptor.digest()).await
            }
        }
    }

    async fn stored(&self, digest: &Digest) -> Result<Option<Bytes>, SourceError> {
        let (content, wanted) = (self.store.content().clone(), digest.clone());
        if !blocking(move || content.exists(&wanted).map_err(store_error)).await? {
            return Ok(None);
        }
        self.read(digest).await.map(Some)
    }

    async fn read(&self, digest: &Digest) -> Result<Bytes, SourceError> {
        let (content, digest) = (self.store.content().clone(), digest.clone());
        blocking(move || {
            content
                .read(&digest, MAX_DOCUMENT)
                .map(Bytes::from)
                .map_err(store_error)
        })
        .await
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Manifest,
    Blob,
}

pub(super) fn store_error(error: kiln_store::content::ContentError) -> SourceError {
    SourceError::Store(error.into())
}

/// Where a layout keeps a blob.
pub(super) fn blob_path(layout: &Path, digest: &Digest) -> PathBuf {
    layout
        .join("blobs")
        .join(digest.algorithm().as_ref())
        .join(digest.digest())
}

/// Brings a blob of a client's layout into the content store, which verifies it.
pub(super) async fn receive(
    store: &dyn RemoteContent,
    descriptor: &Descriptor,
    content: &ContentStore,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<(), SourceError> {
    let stream = store.read(descriptor.digest(), 0).await?;
    let reader = kiln_session::content::reader_of(stream);
    let kept = kiln_store::refs::keep(reader, descriptor, content, progress).await;
    kept.map_err(|error| SourceError::Layout {
        path: store.name().into(),
        reason: format!("blob {}: {error}", descriptor.digest()),
    })
}

/// Copies a blob of a layout into the content store, which verifies it.
pub(super) fn import(
    layout: &Path,
    descriptor: &Descriptor,
    content: &ContentStore,
    progress: &dyn Fn(u64),
) -> Result<(), SourceError> {
    use kiln_store::content::ContentError;
    let path = blob_path(layout, descriptor.digest());
    let unreadable = |error: std::io::Error| SourceError::Layout {
        path: layout.to_owned(),
        reason: match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("blob {} is not in the layout", descriptor.digest())
            }
            _ => format!("blob {}: {error}", descriptor.digest()),
        },
    };
    let mut file = File::open(&path).map_err(unreadable)?;
    let expected = (descriptor.size() > 0).then(|| descriptor.size());
    let mut writer = content
        .writer(Some((descriptor.digest(), expected)))
        .map_err(store_error)?;
    let mut buffer = vec![0; COPY_BUFFER];
    let mut done = 0;
    loop {
        let count = file.read(&mut buffer).map_err(unreadable)?;
        if count == 0 {
            break;
        }
        if let Err(error) = writer.write_all(&buffer[..count]) {
            let path = content.path(descriptor.digest());
            let disk = kiln_store::disk::DiskError::new("write", &path, error);
            return Err(store_error(disk.into()));
        }
        done += count as u64;
        progress(done);
    }
    match writer.commit() {
        Ok(_) => Ok(()),
        Err(ContentError::DigestMismatch { expected, found }) => Err(SourceError::LayoutDigest {
            path: layout.to_owned(),
            expected,
            actual: found.to_string(),
        }),
        Err(error) => Err(store_error(error)),
    }
}
