//! Single blobs as files.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use kiln_session::{LentLayout, Session};
use kiln_store::{MutableOptions, Ref, Store};
use oci_spec::image::{Descriptor, MediaType};

use super::blob_identifier::BlobIdentifier;
use super::fetch::{ImageFetch, PullProgress};
use super::layout::LayoutSource;
use super::origin::{Origin, Place, blob_path, store_error};
use super::source::{ImageSource, SessionAuthority};
use crate::blocking::blocking;
use crate::error::SourceError;
use crate::single_file::SingleFile;

impl ImageSource {
    /// A blob of a registry's repository as a file.
    pub async fn blob(
        &self,
        identifier: &BlobIdentifier,
        session: &Session,
        progress: PullProgress,
    ) -> Result<Ref, SourceError> {
        self.keep_blob(identifier, session, progress).await?;
        file(&self.store, identifier).await
    }

    /// Brings a blob of a registry's repository into the content store. Also if it is there the registry is asked:
    /// whoever knows its digest may still not be allowed to read it.
    pub(crate) async fn keep_blob(
        &self,
        identifier: &BlobIdentifier,
        session: &Session,
        progress: PullProgress,
    ) -> Result<(), SourceError> {
        let authority = Arc::new(SessionAuthority(session.clone()));
        let repository = self.client.repository(&identifier.reference, authority);
        let found = repository.describe_blob(&identifier.digest).await?;
        let is_here = is_here(&self.store, identifier).await?;
        match found {
            Some(_) if is_here => {}
            Some(descriptor) => {
                let place = Place::Registry(repository);
                bring(&self.store, place, &descriptor, progress).await?;
            }
            // Manifests are no blobs to a registry.
            None => {
                let descriptor = repository.resolve(&identifier.reference).await?;
                if !is_here {
                    let manifest = repository.manifest(&descriptor).await?;
                    let content = self.store.content().clone();
                    blocking(move || content.put(&manifest).map_err(store_error)).await?;
                }
            }
        }
        Ok(())
    }
}

impl LayoutSource {
    /// A blob of a layout as a file.
    pub async fn blob(
        &self,
        identifier: &BlobIdentifier,
        layout: &LentLayout,
        progress: PullProgress,
    ) -> Result<Ref, SourceError> {
        self.keep_blob(identifier, layout, progress).await?;
        file(&self.store, identifier).await
    }

    /// Brings a blob of a layout into the content store. Also if it is there the layout has to have it.
    pub(crate) async fn keep_blob(
        &self,
        identifier: &BlobIdentifier,
        layout: &LentLayout,
        progress: PullProgress,
    ) -> Result<(), SourceError> {
        let missing = |path: PathBuf| SourceError::Layout {
            path,
            reason: format!("blob {} is not in the layout", identifier.digest),
        };
        let (place, size) = match layout {
            LentLayout::Here(path) => {
                let blob = blob_path(path, &identifier.digest);
                let blob = tokio::fs::metadata(blob).await;
                let size = blob.map_err(|_| missing(path.clone()))?.len();
                (Place::Layout(path.clone()), size)
            }
            LentLayout::Remote(store) => {
                let size = store.size(&identifier.digest).await?;
                let size = size.ok_or_else(|| missing(store.name().into()))?;
                (Place::Client(store.clone()), size)
            }
        };
        if !is_here(&self.store, identifier).await? {
            let kind = MediaType::Other("application/octet-stream".into());
            let descriptor = Descriptor::new(kind, size, identifier.digest.clone());
            bring(&self.store, place, &descriptor, progress).await?;
        }
        Ok(())
    }
}

async fn is_here(store: &Store, identifier: &BlobIdentifier) -> Result<bool, SourceError> {
    let (content, digest) = (store.content().clone(), identifier.digest.clone());
    blocking(move || content.exists(&digest).map_err(store_error)).await
}

/// Brings the blob into the content store, which verifies it.
async fn bring(
    store: &Store,
    place: Place,
    descriptor: &Descriptor,
    progress: PullProgress,
) -> Result<(), SourceError> {
    use kiln_store::refs::Fetch as _;
    let origin = Origin {
        place,
        store: store.clone(),
    };
    let fetched = ImageFetch { origin, progress }.fetch(descriptor).await;
    fetched.map_err(|error| SourceError::Blob {
        digest: descriptor.digest().clone(),
        source: error,
    })
}

/// The tree of the blob, which is in the content store.
async fn file(store: &Store, identifier: &BlobIdentifier) -> Result<Ref, SourceError> {
    let (store, identifier) = (store.clone(), identifier.clone());
    blocking(move || {
        let options = MutableOptions {
            description: format!("blob {}", identifier.reference),
            record_type: identifier.record_type,
            ..MutableOptions::default()
        };
        let tree = store.mutable(None, options)?;
        let name = match identifier.filename.as_str() {
            "" => identifier.digest.digest().to_owned(),
            name => name.to_owned(),
        };
        let single = SingleFile {
            name,
            mode: identifier.mode,
            uid: identifier.uid,
            gid: identifier.gid,
            modified: None,
        };
        let write = || -> io::Result<()> {
            let mut blob = File::open(store.content().path(&identifier.digest))?;
            let mut file = single.create(&tree)?;
            io::copy(&mut blob, &mut file)?;
            single.finish(&file)
        };
        write().map_err(|error| SourceError::Blob {
            digest: identifier.digest.clone(),
            source: error.into(),
        })?;
        Ok(tree.commit()?)
    })
    .await
}
