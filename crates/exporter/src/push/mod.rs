//! Pushing an image whose manifests are complete in the store.

mod blobs;
mod early;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use kiln_registry::{Authority, Client, PushTarget, Reference, Repository};
use kiln_store::Store;
use kiln_store::lease::Lease;
use kiln_store::refs::LayerInfo;

use crate::ExportError;
use crate::exporter::Exporter;
use crate::image::Assembled;
use crate::image::model::Descriptor;
use crate::options::StoredImageOptions;
use crate::progress::Progress;
use blobs::Tally;
pub(crate) use early::Early;
pub use early::EarlyUploads;

/// Manifests are read into memory to be sent.
const MANIFEST_LIMIT: u64 = 8 << 20;

/// An image that wants to be pushed. It keeps its blobs in the store until it is dropped.
pub struct Push {
    store: Store,
    plan: PushPlan,
    by_digest: bool,
    insecure: bool,
    /// Uploads of its layers that have begun.
    early: Option<Arc<Early>>,
    _lease: Lease,
}

/// What is pushed.
pub(crate) struct PushPlan {
    pub(crate) image: Assembled,
    pub(crate) names: Vec<Reference>,
    /// The layers by their blobs: where else they are, and how they are had if they are not here.
    pub(crate) layers: BTreeMap<String, LayerInfo>,
}

impl std::fmt::Debug for Push {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Push")
            .field("names", &self.plan.names)
            .finish_non_exhaustive()
    }
}

impl Push {
    pub(crate) fn new(
        exporter: &Exporter,
        plan: PushPlan,
        options: &StoredImageOptions,
        early: Option<Arc<Early>>,
        lease: Lease,
    ) -> Self {
        Self {
            store: exporter.store.clone(),
            plan,
            by_digest: options.push_by_digest,
            insecure: options.insecure,
            early,
            _lease: lease,
        }
    }

    /// Where it goes.
    pub fn names(&self) -> &[Reference] {
        &self.plan.names
    }

    /// Whether the user allows plain HTTP and unverified certificates: the client must be set up so.
    pub fn insecure(&self) -> bool {
        self.insecure
    }

    /// Pushes to every name: to all registries at once, and each blob once to each of them. Names come last of all, so
    /// that none stands for something incomplete, nor for less than the others.
    pub async fn run(
        self,
        client: &Client,
        authority: Arc<dyn Authority>,
        progress: &Progress,
    ) -> Result<(), ExportError> {
        if let Some(early) = &self.early {
            early.close();
        }
        let registries = registries(&self.plan.names, client, &authority);
        let outcome = self.push_all(&registries, progress).await;
        if let Some(early) = &self.early {
            early.end().await;
        }
        outcome?;
        self.remember(&registries).await;
        Ok(())
    }

    async fn push_all(
        &self,
        registries: &[Vec<Place>],
        progress: &Progress,
    ) -> Result<(), ExportError> {
        let step = progress.start("pushing layers");
        let repositories = registries.iter().map(Vec::len).sum();
        let tally = Tally::new(&step, &self.plan.image, repositories);
        let each = registries
            .iter()
            .map(|repositories| self.push_content(repositories, &tally));
        let outcome = try_join_all(each).await;
        step.end(outcome)?;

        let repositories = registries.iter().flatten();
        let each = repositories.map(|target| self.push_names(target, progress));
        try_join_all(each).await.map(drop)
    }

    /// Pushes everything but the root to the repositories of one registry: to the first, from which the others take it.
    async fn push_content(&self, places: &[Place], tally: &Tally) -> Result<(), ExportError> {
        let mut first = None;
        for place in places {
            let pushed = async {
                self.push_blobs(&place.repository, first, tally).await?;
                let parts = self.plan.image.parts();
                let below = parts
                    .map(|(manifest, _, _)| manifest)
                    .filter(|manifest| manifest.digest != self.plan.image.root.digest);
                let each =
                    below.map(|manifest| self.push_manifest(place, manifest, PushTarget::Digest));
                try_join_all(each).await.map(drop)
            };
            pushed.await.map_err(|source| place.failed(source))?;
            first = first.or(Some(place.repository.name()));
        }
        Ok(())
    }

    /// Pushes the root under all names in one repository.
    async fn push_names(&self, place: &Place, progress: &Progress) -> Result<(), ExportError> {
        for name in &place.names {
            let root = &self.plan.image.root;
            let step = progress.start(format!("pushing manifest for {name}@{}", root.digest));
            let target = match name.tag() {
                Some(tag) if !self.by_digest => PushTarget::Tag(tag.to_owned()),
                _ => PushTarget::Digest,
            };
            let pushed = self.push_manifest(place, root, target).await;
            step.end(pushed.map_err(|source| ExportError::Push {
                name: name.to_string(),
                source,
            }))?;
        }
        Ok(())
    }

    async fn push_manifest(
        &self,
        place: &Place,
        descriptor: &Descriptor,
        target: PushTarget,
    ) -> Result<(), Failure> {
        let descriptor = descriptor.to_oci()?;
        let (content, digest) = (self.store.content().clone(), descriptor.digest().clone());
        let read = move || content.read(&digest, MANIFEST_LIMIT);
        let bytes = tokio::task::spawn_blocking(read).await??;
        place
            .repository
            .push_manifest(&descriptor, Bytes::from(bytes), &target)
            .await?;
        Ok(())
    }

    /// Notes where the layers are now: a later push to the same registry need not send them.
    async fn remember(&self, registries: &[Vec<Place>]) {
        let repositories: Vec<_> = registries
            .iter()
            .flatten()
            .map(|place| place.repository.name().to_string())
            .collect();
        let image = &self.plan.image;
        let pushed = image.manifests.iter().flat_map(|image| &image.layers);
        let layers: Vec<_> = pushed
            .filter_map(|layer| self.plan.layers.get(&layer.digest))
            .cloned()
            .collect();
        let noted = tokio::task::spawn_blocking(move || {
            layers.iter().try_for_each(|layer| {
                let mut names = repositories.iter();
                names.try_for_each(|name| layer.owner.add_origin(name))
            })
        });
        // Without the note the next push sends more than it must; nothing else.
        if let Ok(Err(error)) = noted.await {
            tracing::debug!(%error, "cannot note where layers were pushed to");
        }
    }
}

/// A repository to push to, under some names.
struct Place {
    repository: Repository,
    names: Vec<Reference>,
}

/// The repositories to push to, by registry.
fn registries(
    names: &[Reference],
    client: &Client,
    authority: &Arc<dyn Authority>,
) -> Vec<Vec<Place>> {
    let mut registries: BTreeMap<&str, Vec<Place>> = BTreeMap::new();
    for name in names {
        let places = registries.entry(name.domain()).or_default();
        let known = places
            .iter_mut()
            .find(|place| place.repository.name().path() == name.path());
        match known {
            Some(place) => place.names.push(name.clone()),
            None => places.push(Place {
                repository: client.repository(name, authority.clone()),
                names: vec![name.clone()],
            }),
        }
    }
    registries.into_values().collect()
}

impl Place {
    fn failed(&self, source: Failure) -> ExportError {
        let name = self.names.first().unwrap_or(self.repository.name());
        ExportError::Push {
            name: name.to_string(),
            source,
        }
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;
