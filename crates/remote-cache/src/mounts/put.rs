//! Writing mounts to where they are kept.

use bytes::Bytes;
use kiln_registry::{BlobData, PushOutcome, PushTarget};
use kiln_session::content;

use super::find::Spot;
use crate::directory;
use crate::model::Descriptor;
use crate::place::ReadError;

impl Spot {
    /// Writes a blob if it is not there yet; how many bytes that took.
    pub(super) async fn put(&self, blob: &Descriptor, bytes: Vec<u8>) -> Result<u64, ReadError> {
        let descriptor = blob.to_oci()?;
        let is_new = match self {
            Self::Directory { path, .. } => {
                let (path, blob) = (path.clone(), blob.clone());
                let write = move || directory::put(&path, &blob, &bytes);
                tokio::task::spawn_blocking(write).await??
            }
            Self::Repository { repository, .. } => {
                let data = BlobData::Bytes(Bytes::from(bytes));
                repository.push_blob(&descriptor, data).await? == PushOutcome::Sent
            }
            Self::Client { store, .. } => {
                let is_new = store.size(descriptor.digest()).await? != Some(blob.size);
                if is_new {
                    let data = content::stream_of_bytes(Bytes::from(bytes));
                    store.write(descriptor.digest(), blob.size, data).await?;
                }
                is_new
            }
        };
        Ok(if is_new { blob.size } else { 0 })
    }

    /// Writes the manifest and makes the name stand for it; a client elsewhere does that itself.
    pub(super) async fn publish(
        &self,
        manifest: &Descriptor,
        bytes: Vec<u8>,
    ) -> Result<u64, ReadError> {
        match self {
            Self::Directory { path, tag } => {
                let written = self.put(manifest, bytes).await?;
                let (path, tag, manifest) = (path.clone(), tag.clone(), manifest.clone());
                let name = move || directory::set_tag(&path, &tag, &manifest);
                tokio::task::spawn_blocking(name).await??;
                Ok(written)
            }
            Self::Repository {
                repository,
                reference,
            } => {
                let descriptor = manifest.to_oci()?;
                let target = reference.tag().map(str::to_owned);
                let target = target.map_or(PushTarget::Digest, PushTarget::Tag);
                let pushed = repository.push_manifest(&descriptor, bytes.into(), &target);
                pushed.await?;
                Ok(manifest.size)
            }
            Self::Client { .. } => self.put(manifest, bytes).await,
        }
    }
}
