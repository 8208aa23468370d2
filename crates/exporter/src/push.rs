//! Pushing an image that is complete in the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use kiln_registry::{Authority, BlobData, Client, PushTarget, Reference, Repository};
use kiln_store::Store;
use kiln_store::lease::Lease;

use crate::ExportError;
use crate::exporter::Exporter;
use crate::image::Assembled;
use crate::image::model::Descriptor;
use crate::options::StoredImageOptions;
use crate::progress::Progress;

/// Manifests are read into memory to be sent.
const MANIFEST_LIMIT: u64 = 8 << 20;

/// An image that wants to be pushed. It keeps its blobs in the store until it is dropped.
pub struct Push {
    store: Store,
    image: Assembled,
    names: Vec<Reference>,
    by_digest: bool,
    insecure: bool,
    _lease: Lease,
}

impl std::fmt::Debug for Push {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Push")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Push {
    pub(crate) fn new(
        exporter: &Exporter,
        image: Assembled,
        names: Vec<Reference>,
        options: &StoredImageOptions,
        lease: Lease,
    ) -> Self {
        let (by_digest, insecure) = (options.push_by_digest, options.insecure);
        Self {
            store: exporter.store.clone(),
            image,
            names,
            by_digest,
            insecure,
            _lease: lease,
        }
    }

    /// Where it goes.
    pub fn names(&self) -> &[Reference] {
        &self.names
    }

    /// Whether the user allows plain HTTP and unverified certificates: the client must be set up so.
    pub fn insecure(&self) -> bool {
        self.insecure
    }

    /// Pushes to every name.
    pub async fn run(
        self,
        client: &Client,
        authority: Arc<dyn Authority>,
        progress: &Progress,
    ) -> Result<(), ExportError> {
        for name in &self.names {
            self.push_to(&client.repository(name, authority.clone()), name, progress)
                .await
                .map_err(|source| ExportError::Push {
                    name: name.to_string(),
                    source,
                })?;
        }
        Ok(())
    }

    async fn push_to(
        &self,
        repository: &Repository,
        name: &Reference,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let layers = progress.start("pushing layers");
        let blobs: BTreeMap<_, _> = self
            .image
            .parts()
            .flat_map(|(_, config, layers)| layers.iter().chain([config]))
            .map(|descriptor| (&descriptor.digest, descriptor))
            .collect();
        let each = blobs.into_values().map(async |descriptor| {
            let descriptor = descriptor.to_oci()?;
            let data = BlobData::stored(self.store.content(), descriptor.digest());
            repository
                .push_blob(&descriptor, data, None)
                .await
                .map_err(Failure::from)
        });
        layers.end(try_join_all(each).await)?;

        let step = progress.start(format!(
            "pushing manifest for {name}@{}",
            self.image.root.digest
        ));
        step.end(self.push_manifests(repository, name).await)
    }

    async fn push_manifests(
        &self,
        repository: &Repository,
        name: &Reference,
    ) -> Result<(), Failure> {
        for (manifest, _, _) in self.image.parts() {
            if manifest.digest != self.image.root.digest {
                self.push_manifest(repository, manifest, &PushTarget::Digest)
                    .await?;
            }
        }
        let target = match name.tag() {
            Some(tag) if !self.by_digest => PushTarget::Tag(tag.to_owned()),
            _ => PushTarget::Digest,
        };
        self.push_manifest(repository, &self.image.root, &target)
            .await
    }

    async fn push_manifest(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        target: &PushTarget,
    ) -> Result<(), Failure> {
        let descriptor = descriptor.to_oci()?;
        let bytes = self
            .store
            .content()
            .read(descriptor.digest(), MANIFEST_LIMIT)?;
        repository
            .push_manifest(&descriptor, Bytes::from(bytes), target)
            .await?;
        Ok(())
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;
