//! The blobs of an image on their way to a repository.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::try_join_all;
use kiln_registry::{BlobData, BlobSource, Reference, Repository};

use super::{Failure, Push};
use crate::image::Assembled;
use crate::image::model::Descriptor;
use crate::layers::is_distributable;
use crate::progress::Step;

/// Less is not worth a message.
const WORTH_TELLING: u64 = 1 << 20;

impl Push {
    /// Pushes all blobs, side by side. `first` is another repository of the registry that has them already.
    pub(super) async fn push_blobs(
        &self,
        repository: &Repository,
        first: Option<&Reference>,
        tally: &Tally,
    ) -> Result<(), Failure> {
        let each = blobs(&self.plan.image).into_values().map(async |blob| {
            let share = tally.share();
            if self.is_sent(repository, blob, &share).await {
                share.report(blob.size);
                return Ok(());
            }
            let source = self.source(blob, first).await?;
            let source = source.report_to(move |done| share.report(done));
            repository.push_blob(&blob.to_oci()?, source).await?;
            Ok::<_, Failure>(())
        });
        try_join_all(each).await.map(drop)
    }

    /// Whether a blob was sent while it was made.
    async fn is_sent(&self, repository: &Repository, blob: &Descriptor, share: &Share) -> bool {
        match &self.early {
            Some(early) => {
                let report = |done| share.report(done);
                early
                    .has_sent(repository.name(), &blob.digest, report)
                    .await
            }
            None => false,
        }
    }

    /// Where a blob may be had: from other repositories, from the store, or from where its layer came from.
    async fn source(
        &self,
        blob: &Descriptor,
        first: Option<&Reference>,
    ) -> Result<BlobSource, Failure> {
        let descriptor = blob.to_oci()?;
        let data = BlobData::stored(self.store.content(), descriptor.digest());
        let source = BlobSource::from(data);
        let Some(layer) = self.plan.layers.get(&blob.digest).cloned() else {
            return Ok(source.mount_from(first.cloned().into_iter().collect()));
        };
        let owner = layer.owner.clone();
        let origins = tokio::task::spawn_blocking(move || owner.origins()).await??;
        let origins = origins
            .iter()
            .filter_map(|name| Reference::parse(name).ok());
        let mounts = first.cloned().into_iter().chain(origins).collect();
        let original = layer
            .blobs
            .iter()
            .find(|it| it.digest() == descriptor.digest());
        let original = original.cloned().unwrap_or(descriptor);
        let bring = move || -> futures::future::BoxFuture<'static, Result<(), Failure>> {
            let (layer, blob) = (layer.clone(), original.clone());
            Box::pin(async move { Ok(layer.fetch_blob(&blob).await?) })
        };
        Ok(source.mount_from(mounts).bring(bring))
    }
}

/// Configs, layers and statements, each once. Layers that must not be distributed are left where they are.
fn blobs(image: &Assembled) -> BTreeMap<&str, &Descriptor> {
    let parts = image.parts();
    let all = parts.flat_map(|(_, config, layers)| layers.iter().chain([config]));
    all.filter(|blob| is_distributable(&blob.media_type))
        .map(|blob| (blob.digest.as_str(), blob))
        .collect()
}

/// Adds up how far all blobs have come.
pub(super) struct Tally(Arc<Mutex<Sum>>);

struct Sum {
    done: u64,
    told: u64,
    total: u64,
    tell: Box<dyn Fn(u64, u64) + Send>,
}

impl Tally {
    /// For an image that goes to so many repositories.
    pub(super) fn new(step: &Step, image: &Assembled, repositories: usize) -> Self {
        let sizes = blobs(image).into_values().map(|blob| blob.size);
        let total = sizes.sum::<u64>().saturating_mul(repositories as u64);
        let sum = Sum {
            done: 0,
            told: 0,
            total,
            tell: Box::new(step.reporter_of_total()),
        };
        Self(Arc::new(Mutex::new(sum)))
    }

    /// What one blob reports to.
    fn share(&self) -> Share {
        Share {
            sum: Arc::clone(&self.0),
            done: Mutex::new(0),
        }
    }
}

struct Share {
    sum: Arc<Mutex<Sum>>,
    done: Mutex<u64>,
}

impl Share {
    fn report(&self, now: u64) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.done = sum.done.saturating_sub(*done).saturating_add(now);
        *done = now;
        if sum.done.abs_diff(sum.told) >= WORTH_TELLING || sum.done == sum.total {
            sum.told = sum.done;
            (sum.tell)(sum.done, sum.total);
        }
    }
}
