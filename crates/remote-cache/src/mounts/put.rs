//! Writing mounts to where they are kept.

use bytes::Bytes;
use kiln_registry::{BlobData, PushOutcome, PushTarget};
use kiln_session::content;

use super::artifact::{Artifact, INDEX};
use super::find::{Spot, name_of};
use crate::build::describe;
use crate::directory;
use crate::model::{self, Descriptor};
use crate::place::ReadError;
use crate::stores::{BlobSource, Task};

/// An index that can be found by its name.
pub(super) struct Published {
    /// What leads to it, where that is a manifest.
    pub(super) manifest: Option<Descriptor>,
    /// How many bytes were written.
    pub(super) written: u64,
    /// How many bytes index and manifest take.
    pub(super) size: u64,
}

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
            Self::Store(store) => {
                let tasks = store.0.plan(&[descriptor]).await?;
                let source = BlobSource::Bytes(bytes.into());
                for task in &tasks {
                    store.0.carry_out(task, &source).await?;
                }
                tasks.iter().any(|task| matches!(task, Task::Send(_)))
            }
        };
        Ok(if is_new { blob.size } else { 0 })
    }

    /// Makes a place ready to be written to.
    pub(super) async fn prepare(&self) -> Result<(), ReadError> {
        match self {
            Self::Store(store) => Ok(store.0.prepare().await?),
            _ => Ok(()),
        }
    }

    /// Writes the index, and makes the name stand for it last of all.
    pub(super) async fn publish(
        &self,
        index: Vec<u8>,
        layers: Vec<Descriptor>,
    ) -> Result<Published, ReadError> {
        let config = describe(INDEX, &index);
        if let Self::Store(store) = self {
            let index = Bytes::from(index);
            for name in store.0.writable() {
                store.0.write(&name_of(&name), index.clone()).await?;
            }
            return Ok(Published {
                manifest: None,
                written: config.size,
                size: config.size,
            });
        }
        let written = self.put(&config, index).await?;
        let size = config.size;
        let manifest = model::encode(&Artifact::new(config, layers))?;
        let descriptor = describe(model::OCI_MANIFEST, &manifest);
        let named = self.name(&descriptor, manifest).await?;
        Ok(Published {
            written: written + named,
            size: size + descriptor.size,
            manifest: Some(descriptor),
        })
    }

    /// Writes the manifest and makes the name stand for it; a client elsewhere does that itself.
    async fn name(&self, manifest: &Descriptor, bytes: Vec<u8>) -> Result<u64, ReadError> {
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
            Self::Client { .. } | Self::Store(_) => self.put(manifest, bytes).await,
        }
    }
}
