//! Who makes which blob, and when: at most one at work on each layer, a few layers at a time.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::try_join_all;
use kiln_store::diff::{DiffOptions, LayerSource, write_layer};
use kiln_store::refs::{LayerBlob as StoredBlob, LayerInfo};
use kiln_store::{Blob, Ref, Store};
use oci_spec::image::{Descriptor, Digest, MediaType};
use tokio::sync::Semaphore;

use super::recompress::copy_tar;
use super::variant::{self, Variant};
use super::{LayerBlob, LayerError, media_type};
use crate::compression::{Algorithm, CompressedWriter, Compression, Pool};

/// What a caller wants of a ref's layers.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) compression: Compression,
    /// Layers above the base image have their times brought down to this second.
    pub(crate) epoch: Option<i64>,
    /// Diff ids of the base image, whose layers stay as they are.
    pub(crate) base: Vec<Digest>,
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
    /// The layer comes with this blob, which is not in the content store.
    Fetch(Descriptor),
    /// Compress the tar of this blob anew.
    Recompress(Descriptor, Variant),
    /// Write the layer's files.
    Write(Variant),
}

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
            self.one(layer, wanted.compression, epoch)
        });
        try_join_all(each).await
    }

    async fn one(
        self: &Arc<Self>,
        info: LayerInfo,
        compression: Compression,
        epoch: Option<i64>,
    ) -> Result<LayerBlob, LayerError> {
        let id = info.owner.id().to_owned();
        let lock = self.lock(&id);
        let outcome = {
            let _alone = lock.lock().await;
            self.make(&info, compression, epoch).await
        };
        drop(lock);
        self.unlock(&id);
        let blob = outcome?;
        Ok(LayerBlob {
            descriptor: blob.descriptor,
            diff_id: blob.diff_id,
            created: Some(info.created),
            description: info.description,
        })
    }

    async fn make(
        self: &Arc<Self>,
        info: &LayerInfo,
        compression: Compression,
        epoch: Option<i64>,
    ) -> Result<StoredBlob, LayerError> {
        // Looked up again, because whoever held the lock before may have made the blob.
        let mut info = current(info)?;
        let mut plan = self.plan(&info, compression, epoch)?;
        let needs_files = matches!(plan, Plan::Write(_)) && info.dir.is_none();
        if needs_files || matches!(plan, Plan::Fetch(_)) {
            info.owner.materialize().await?;
            info = current(&info)?;
            plan = self.plan(&info, compression, epoch)?;
        }
        let plan = match plan {
            Plan::Done(blob) => return Ok(blob),
            // Its source has it no more and the files are here: make it anew.
            Plan::Fetch(_) => Plan::Write(Variant {
                algorithm: compression.algorithm,
                level: compression.level,
                epoch,
            }),
            plan => plan,
        };
        let _slot = self
            .slots
            .acquire()
            .await
            .map_err(|_| LayerError::Ended(info.owner.id().to_owned()))?;
        let work = self.clone();
        let id = info.owner.id().to_owned();
        tokio::task::spawn_blocking(move || work.run(&info, plan))
            .await
            .map_err(|_| LayerError::Ended(id))?
    }

    fn plan(
        &self,
        info: &LayerInfo,
        compression: Compression,
        epoch: Option<i64>,
    ) -> Result<Plan, LayerError> {
        let variant = Variant {
            algorithm: compression.algorithm,
            level: compression.level,
            epoch,
        };
        let own = variant::made_here(info)?;
        if let (false, Some(first), Some(diff_id), None) =
            (own, info.blobs.first(), &info.diff_id, epoch)
        {
            let fits =
                media_type::algorithm(first.media_type().as_ref()) == Some(compression.algorithm);
            if fits || !compression.force {
                return Ok(match self.has(first)? {
                    true => Plan::Done(StoredBlob {
                        descriptor: first.clone(),
                        diff_id: diff_id.clone(),
                    }),
                    false => Plan::Fetch(first.clone()),
                });
            }
        }
        if let Some(blob) = variant::recorded(info, &variant)?
            && self.has(&blob.descriptor)?
        {
            return Ok(Plan::Done(blob));
        }
        if epoch.is_none() && info.diff_id.is_some() {
            for blob in &info.blobs {
                if self.has(blob)? && media_type::algorithm(blob.media_type().as_ref()).is_some() {
                    return Ok(Plan::Recompress(blob.clone(), variant));
                }
            }
        }
        match (&info.dir, own, info.blobs.first()) {
            (None, false, Some(first)) if epoch.is_none() => Ok(Plan::Fetch(first.clone())),
            _ => Ok(Plan::Write(variant)),
        }
    }

    fn has(&self, blob: &Descriptor) -> Result<bool, LayerError> {
        Ok(self.store.content().exists(blob.digest())?)
    }

    /// Makes a blob, on a thread that may block.
    fn run(&self, info: &LayerInfo, plan: Plan) -> Result<StoredBlob, LayerError> {
        let (variant, diff_id, blob) = match plan {
            Plan::Recompress(from, variant) => {
                let (diff_id, blob) = self.recompress(info, &from, &variant)?;
                (variant, diff_id, blob)
            }
            Plan::Write(variant) => {
                let (diff_id, blob) = self.write(info, &variant)?;
                (variant, diff_id, blob)
            }
            Plan::Done(blob) => return Ok(blob),
            Plan::Fetch(blob) => return Err(LayerError::Ended(blob.digest().to_string())),
        };
        let media_type = MediaType::from(variant.algorithm.media_type());
        let made = StoredBlob {
            descriptor: Descriptor::new(media_type, blob.size, blob.digest),
            diff_id,
        };
        variant::record(&self.store, info, &variant, &made)?;
        Ok(made)
    }

    fn write(&self, info: &LayerInfo, variant: &Variant) -> Result<(Digest, Blob), LayerError> {
        let Some(upper) = &info.dir else {
            return Err(LayerError::Ended(info.owner.id().to_owned()));
        };
        let lower: Vec<PathBuf> = info.below.iter().rev().cloned().collect();
        let source = LayerSource {
            upper,
            lower: &lower,
        };
        let options = DiffOptions {
            epoch: variant.epoch,
        };
        self.compress(info, variant, |out| {
            Ok(write_layer(&source, out, &options)?.diff_id)
        })
    }

    fn recompress(
        &self,
        info: &LayerInfo,
        from: &Descriptor,
        variant: &Variant,
    ) -> Result<(Digest, Blob), LayerError> {
        let algorithm =
            media_type::algorithm(from.media_type().as_ref()).unwrap_or(Algorithm::Uncompressed);
        let file = self.store.content().open(from.digest())?;
        let failed = |source| LayerError::Write {
            layer: info.owner.id().to_owned(),
            source,
        };
        let (diff_id, blob) = self.compress(info, variant, |out| {
            copy_tar(file, algorithm, out).map_err(failed)
        })?;
        match &info.diff_id {
            Some(expected) if *expected != diff_id => Err(LayerError::Corrupt {
                blob: from.digest().to_string(),
                expected: expected.to_string(),
                found: diff_id.to_string(),
            }),
            _ => Ok((diff_id, blob)),
        }
    }

    /// Runs `produce` with a stream that is compressed and hashed on its way into the content store.
    fn compress(
        &self,
        info: &LayerInfo,
        variant: &Variant,
        produce: impl FnOnce(&mut dyn Write) -> Result<Digest, LayerError>,
    ) -> Result<(Digest, Blob), LayerError> {
        let failed = |source: io::Error| LayerError::Write {
            layer: info.owner.id().to_owned(),
            source,
        };
        let compression = Compression {
            algorithm: variant.algorithm,
            level: variant.level,
            force: false,
        };
        let sink = BufWriter::with_capacity(256 << 10, self.store.content().writer(None)?);
        let mut stream = CompressedWriter::new(&self.pool, &compression, sink);
        let diff_id = produce(&mut stream)?;
        let sink = stream.finish().map_err(failed)?;
        let writer = sink
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        Ok((diff_id, writer.commit()?))
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

/// What is known of a layer now.
fn current(info: &LayerInfo) -> Result<LayerInfo, LayerError> {
    let now = info.owner.layers()?.pop();
    Ok(now
        .filter(|now| now.owner.id() == info.owner.id())
        .unwrap_or_else(|| info.clone()))
}
