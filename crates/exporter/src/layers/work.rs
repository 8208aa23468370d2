//! Who makes which blob, and when: at most one at work on each layer, a few layers at a time.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::try_join_all;
use kiln_store::diff::{DiffOptions, LayerSource, write_layer};
use kiln_store::refs::{LayerBlob as StoredBlob, LayerInfo};
use kiln_store::{Ref, Store};
use oci_spec::image::{Descriptor, Digest};
use tokio::sync::Semaphore;

use super::growing::{BlobObserver, Grower};
use super::recompress::copy_tar;
use super::variant::{self, Variant};
use super::{LayerBlob, LayerError, media_type};
use crate::cancel::{Cancelled, Guarded};
use crate::compression::{Algorithm, Compression, LayerStream, Pool};

/// What a caller wants of a ref's layers.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) compression: Compression,
    /// Layers above the base image have their times brought down to this second.
    pub(crate) epoch: Option<i64>,
    /// Diff ids of the base image, whose layers stay as they are.
    pub(crate) base: Vec<Digest>,
    pub(crate) absent: Absent,
    /// Hears of the blobs that are made new of layers' files.
    pub(crate) observer: Option<Arc<dyn BlobObserver>>,
}

/// What becomes of blobs that are wanted as they are and have never been here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// They are fetched.
    Fetch,
    /// They stay where they are: who wants them may not need their bytes.
    Leave,
}

/// Makes layer blobs; shared by all exports of an engine.
pub(crate) struct LayerWork {
    store: Store,
    pool: Pool,
    /// Each layer at work reads files and hashes; more at a time than threads would only use memory.
    slots: Semaphore,
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// What to do for one layer.
enum Plan {
    /// The blob is there.
    Done(StoredBlob),
    /// The layer came with a blob, which is not in the content store.
    Fetch,
    /// Compress the tar of this blob anew.
    Recompress(Descriptor),
    /// Write the layer's files.
    Write,
}

/// Compressed bytes are collected into pieces of this size before they are written.
const BUFFER: usize = 256 << 10;

impl LayerWork {
    pub(crate) fn new(store: Store, pool: Pool) -> Self {
        let slots = Semaphore::new(pool.threads() + 1);
        Self {
            store,
            pool,
            slots,
            locks: Mutex::default(),
        }
    }

    /// All layers of a ref, bottom first.
    pub(crate) async fn all(
        self: &Arc<Self>,
        reference: &Ref,
        wanted: &Wanted,
    ) -> Result<Vec<LayerBlob>, LayerError> {
        let layers = reference.layers()?;
        let inherited = layers
            .iter()
            .zip(&wanted.base)
            .take_while(|(layer, base)| layer.diff_id.as_ref() == Some(*base))
            .count();
        let each = layers.into_iter().enumerate().map(|(index, layer)| {
            let epoch = wanted.epoch.filter(|_| index >= inherited);
            let variant = Variant::new(&wanted.compression, epoch);
            self.one(layer, variant, wanted)
        });
        try_join_all(each).await
    }

    async fn one(
        self: &Arc<Self>,
        info: LayerInfo,
        variant: Variant,
        wanted: &Wanted,
    ) -> Result<LayerBlob, LayerError> {
        let force = wanted.compression.force;
        let left = match wanted.absent {
            Absent::Leave if !force => as_it_is(&info)?,
            _ => None,
        };
        let blob = match (self.plan(&info, variant, force)?, left) {
            (Plan::Done(blob), _) | (Plan::Fetch, Some(blob)) => blob,
            _ => self.make_alone(&info, variant, wanted).await?,
        };
        Ok(LayerBlob {
            descriptor: blob.descriptor,
            diff_id: blob.diff_id,
            created: Some(info.created),
            description: info.description,
        })
    }

    /// Makes a blob while nobody else works on the layer.
    async fn make_alone(
        self: &Arc<Self>,
        info: &LayerInfo,
        variant: Variant,
        wanted: &Wanted,
    ) -> Result<StoredBlob, LayerError> {
        let lock = self.lock(info.owner.id());
        let outcome = {
            let _alone = lock.lock().await;
            self.make(info, variant, wanted).await
        };
        drop(lock);
        self.unlock(info.owner.id());
        outcome
    }

    async fn make(
        self: &Arc<Self>,
        info: &LayerInfo,
        variant: Variant,
        wanted: &Wanted,
    ) -> Result<StoredBlob, LayerError> {
        let force = wanted.compression.force;
        // Looked up again, because whoever held the lock before may have made the blob.
        let mut info = current(info)?;
        let mut plan = self.plan(&info, variant, force)?;
        let needs_files = matches!(plan, Plan::Write) && info.dir.is_none();
        if needs_files || matches!(plan, Plan::Fetch) {
            info.owner.materialize().await?;
            info = current(&info)?;
            plan = self.plan(&info, variant, force)?;
        }
        if let Plan::Done(blob) = plan {
            return Ok(blob);
        }
        let id = info.owner.id().to_owned();
        let ended = |_| LayerError::Ended(id.clone());
        let _slot = self
            .slots
            .acquire()
            .await
            .map_err(|_| LayerError::Ended(id.clone()))?;
        let work = self.clone();
        let observer = wanted.observer.clone();
        let (cancelled, _guard) = Cancelled::new();
        tokio::task::spawn_blocking(move || {
            Making {
                work: &work,
                info: &info,
                variant,
                observer: observer.as_deref(),
                cancelled,
            }
            .run(plan)
        })
        .await
        .map_err(ended)?
    }

    fn plan(&self, info: &LayerInfo, variant: Variant, force: bool) -> Result<Plan, LayerError> {
        let own = variant::made_here(info)?;
        let came_with = info
            .blobs
            .first()
            .filter(|_| !own && variant.epoch.is_none());
        if let Some((first, diff_id)) = came_with.zip(info.diff_id.as_ref())
            && (variant.is_of(first) || !force)
        {
            let blob = StoredBlob {
                descriptor: first.clone(),
                diff_id: diff_id.clone(),
            };
            return Ok(if self.has(first)? {
                Plan::Done(blob)
            } else {
                Plan::Fetch
            });
        }
        if let Some(blob) = variant::recorded(info, &variant)?
            && self.has(&blob.descriptor)?
        {
            return Ok(Plan::Done(blob));
        }
        if variant.epoch.is_none() && info.diff_id.is_some() {
            for blob in &info.blobs {
                if media_type::algorithm(blob.media_type().as_ref()).is_some() && self.has(blob)? {
                    return Ok(Plan::Recompress(blob.clone()));
                }
            }
        }
        match (&info.dir, came_with) {
            (None, Some(_)) => Ok(Plan::Fetch),
            _ => Ok(Plan::Write),
        }
    }

    fn has(&self, blob: &Descriptor) -> Result<bool, LayerError> {
        Ok(self.store.content().exists(blob.digest())?)
    }

    fn lock(&self, id: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.entry(id.to_owned()).or_default().clone()
    }

    /// Forgets a lock that nobody else holds or waits for.
    fn unlock(&self, id: &str) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if locks
            .get(id)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            locks.remove(id);
        }
    }
}

/// One blob being made, on a thread that may block.
struct Making<'a> {
    work: &'a LayerWork,
    info: &'a LayerInfo,
    variant: Variant,
    observer: Option<&'a dyn BlobObserver>,
    cancelled: Cancelled,
}

impl Making<'_> {
    fn run(&self, plan: Plan) -> Result<StoredBlob, LayerError> {
        let made = match plan {
            Plan::Done(blob) => return Ok(blob),
            Plan::Recompress(from) => self.recompress(&from)?,
            // A blob that its source has no more is made anew of the files.
            Plan::Write | Plan::Fetch => self.write()?,
        };
        variant::record(&self.work.store, self.info, &self.variant, &made)?;
        Ok(made)
    }

    fn write(&self) -> Result<StoredBlob, LayerError> {
        let upper = self
            .info
            .dir
            .as_ref()
            .ok_or_else(|| LayerError::Missing(self.id()))?;
        let lower: Vec<PathBuf> = self.info.below.iter().rev().cloned().collect();
        let source = LayerSource {
            upper,
            lower: &lower,
        };
        let options = DiffOptions {
            epoch: self.variant.epoch,
        };
        let observer = self.observer.map(|observer| (observer, &self.info.owner));
        let (_, made) = self.compress(observer, |out| {
            Ok(write_layer(&source, out, &options)?.diff_id)
        })?;
        Ok(made)
    }

    fn recompress(&self, from: &Descriptor) -> Result<StoredBlob, LayerError> {
        let algorithm =
            media_type::algorithm(from.media_type().as_ref()).unwrap_or(Algorithm::Uncompressed);
        let file = self.work.store.content().open(from.digest())?;
        let (found, made) = self.compress(None, |out| {
            copy_tar(file, algorithm, out).map_err(|error| self.failed(error))
        })?;
        match &self.info.diff_id {
            Some(expected) if *expected != found => Err(LayerError::Corrupt {
                blob: from.digest().to_string(),
                expected: expected.to_string(),
                found: found.to_string(),
            }),
            _ => Ok(made),
        }
    }

    /// Runs `produce` with a stream that is compressed and hashed on its way into the content store. Answers the
    /// digest of the tar that was produced, and the blob.
    fn compress(
        &self,
        observer: Option<(&dyn BlobObserver, &Ref)>,
        produce: impl FnOnce(&mut dyn Write) -> Result<Digest, LayerError>,
    ) -> Result<(Digest, StoredBlob), LayerError> {
        let failed = |error| self.failed(error);
        let writer = self.work.store.content().writer(None)?;
        let sink = BufWriter::with_capacity(BUFFER, Grower::new(writer, observer));
        let stream = LayerStream::new(&self.work.pool, &self.variant.compression(), sink);
        let mut stream = Guarded {
            stream,
            cancelled: self.cancelled.clone(),
        };
        let tar = produce(&mut stream)?;
        let (sink, known) = stream.stream.finish().map_err(failed)?;
        let writer = sink
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        let blob = writer.commit()?;
        let made = StoredBlob {
            descriptor: self.variant.describe(blob, known.annotations),
            diff_id: known.diff_id.unwrap_or_else(|| tar.clone()),
        };
        Ok((tar, made))
    }

    fn failed(&self, source: io::Error) -> LayerError {
        LayerError::Write {
            layer: self.id(),
            source,
        }
    }

    fn id(&self) -> String {
        self.info.owner.id().to_owned()
    }
}

/// The blob that a layer came with, if it can be had when it is needed.
fn as_it_is(info: &LayerInfo) -> Result<Option<StoredBlob>, LayerError> {
    let Some((first, diff_id)) = info.blobs.first().zip(info.diff_id.as_ref()) else {
        return Ok(None);
    };
    let blob = StoredBlob {
        descriptor: first.clone(),
        diff_id: diff_id.clone(),
    };
    Ok(info.is_obtainable(first)?.then_some(blob))
}

/// What is known of a layer now.
fn current(info: &LayerInfo) -> Result<LayerInfo, LayerError> {
    let now = info.owner.layers()?.pop();
    Ok(now
        .filter(|now| now.owner.id() == info.owner.id())
        .unwrap_or_else(|| info.clone()))
}
