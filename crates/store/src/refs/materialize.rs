//! Lazy layers become directories: fetched and unpacked side by side, diffs compared once both sides are here.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt, TryStreamExt};
use oci_spec::image::{Descriptor, Digest};
use tokio::io::AsyncReadExt;
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio::task::spawn_blocking;

use super::Ref;
use super::compare::Comparison;
use super::lazy::{Fetch, FetchStream, Obtainable};
use super::record::{Files, Kind, LayerFacts};
use super::unpack::{Arriving, Unfinished, Unpacking};
use crate::apply;
use crate::disk::AtPath;
use crate::lease::locks::{LockFile, Mode, Purpose};
use crate::snapshot::remove_tree;
use crate::store::{Store, StoreError};

/// Layers in the works at the same time for one caller. Downloads wait for the network most of the time.
const PARALLEL_LAYERS: usize = 6;

/// How often to look whether another process is done with a layer. It cannot tell us.
const POLL: Duration = Duration::from_millis(20);

/// Pieces of a download on their way to the unpacker, of up to 64 KiB each.
const PIECES: usize = 32;
const PIECE: usize = 64 * 1024;

/// The right to make the files of some layers: kept until the last blocking thread is done with it.
pub(super) struct Permit {
    _tasks: Vec<OwnedMutexGuard<()>>,
    _processes: LockFile,
}

impl Ref {
    /// Downloads and unpacks what is lazy, layers in parallel. Afterwards [`Ref::mounts`] works. Several callers,
    /// also in other processes, share the work.
    pub async fn materialize(&self) -> Result<(), StoreError> {
        let mut lazy = Vec::new();
        for layer in self.mounted_stack() {
            if !layer.has_files()? {
                lazy.push(layer);
            }
        }
        let (diffs, blobs): (Vec<Ref>, Vec<Ref>) = lazy
            .into_iter()
            .partition(|layer| layer.inner.record.kind == Kind::Diff);
        if !blobs.is_empty() {
            unpack_all(&self.inner.store, blobs).await?;
        }
        for diff in diffs {
            diff.compare_parents().await?;
        }
        Ok(())
    }

    async fn compare_parents(&self) -> Result<(), StoreError> {
        for parent in self.parents() {
            Box::pin(parent.materialize()).await?;
        }
        let permit = permit_for(&self.inner.store, std::slice::from_ref(self)).await?;
        if self.has_files()? {
            return Ok(());
        }
        let diff = self.clone();
        blocking(move || {
            let _permit = permit;
            diff.write_comparison()
        })
        .await
    }

    fn write_comparison(&self) -> Result<(), StoreError> {
        let store = &self.inner.store;
        let snapshots = store.snapshots();
        let target = snapshots.unfinished(self.row());
        snapshots.clear(self.row())?;
        snapshots.create_at(&target)?;
        let lower = match self.parents().first() {
            Some(lower) => store.mount(&lower.mounts()?)?.into(),
            None => None,
        };
        let upper = match self.parents().get(1) {
            Some(upper) => Some((store.mount(&upper.mounts()?)?, upper.mount_dirs()?)),
            None => None,
        };
        let (upper_path, upper_layers) = match &upper {
            Some((mounted, layers)) => (mounted.path(), layers.as_slice()),
            None => (snapshots.empty(), [].as_slice()),
        };
        let lower_path = lower
            .as_ref()
            .map_or(snapshots.empty(), |mounted| mounted.path());
        Comparison {
            lower: lower_path,
            upper: upper_path,
            upper_layers,
            flavor: store.flavor(),
        }
        .write(&target)?;
        self.arrived(Files::Written)
    }

    /// Puts the finished directory in its place.
    fn arrived(&self, files: Files) -> Result<(), StoreError> {
        let store = &self.inner.store;
        let (unfinished, tree) = (
            store.snapshots().unfinished(self.row()),
            store.snapshots().tree(self.row()),
        );
        fs::rename(&unfinished, &tree).at("create", &tree)?;
        store.database().transact(|transaction| {
            transaction
                .prepare_cached(
                    "UPDATE refs SET files = ?2, boot = ?3, size = NULL WHERE row = ?1",
                )?
                .execute((self.row(), files, store.boot()))
        })?;
        Ok(())
    }

    /// Fetches the layer if need be and unpacks it beside its place.
    async fn unpack(&self, permit: &Arc<Permit>) -> Result<Unfinished, StoreError> {
        let store = &self.inner.store;
        let facts = store
            .database()
            .query(|connection| LayerFacts::find(connection, self.row()))?;
        let obtainable = self.obtainable(&facts.blobs)?;
        let (Some(obtainable), Some(diff_id)) = (obtainable, facts.diff_id) else {
            let digest = facts
                .blobs
                .first()
                .map_or(self.id().to_owned(), |blob| blob.digest().to_string());
            return Err(StoreError::Unfetchable { digest });
        };
        let (blob, fetch) = match obtainable {
            Obtainable::Here(blob) => return self.unpack_kept(blob, diff_id, permit).await,
            Obtainable::By(blob, fetch) => (blob, fetch),
        };
        let failed = |source| StoreError::Fetch {
            digest: blob.digest().to_string(),
            source,
        };
        match self
            .unpack_stream(&blob, &diff_id, fetch.as_ref(), permit)
            .await
        {
            Ok(Some(unfinished)) => return Ok(unfinished),
            Ok(None) => {}
            Err(error @ (StoreError::Disk(_) | StoreError::Mount(_) | StoreError::Database(_))) => {
                return Err(error);
            }
            Err(error) => {
                tracing::debug!(digest = %blob.digest(), %error, "unpacking the stream failed, fetching")
            }
        }
        fetch.fetch(&blob).await.map_err(failed)?;
        self.unpack_kept(blob, diff_id, permit).await
    }

    /// Unpacks a blob of the content store.
    async fn unpack_kept(
        &self,
        blob: Descriptor,
        diff_id: Digest,
        permit: &Arc<Permit>,
    ) -> Result<Unfinished, StoreError> {
        let (layer, permit) = (self.clone(), permit.clone());
        blocking(move || {
            let _permit = permit;
            let file = layer.inner.store.content().open(blob.digest())?;
            layer.unpack_here(&blob, &diff_id, file)
        })
        .await
    }

    /// Unpacks a blob while it arrives. `None` if it is not offered as a stream.
    async fn unpack_stream(
        &self,
        blob: &Descriptor,
        diff_id: &Digest,
        fetch: &dyn Fetch,
        permit: &Arc<Permit>,
    ) -> Result<Option<Unfinished>, StoreError> {
        let failed = |source| StoreError::Fetch {
            digest: blob.digest().to_string(),
            source,
        };
        let Some(stream) = fetch.stream(blob).await.map_err(failed)? else {
            return Ok(None);
        };
        let writer = self
            .inner
            .store
            .content()
            .writer(Some((blob.digest(), Some(blob.size()))))?;
        let (sender, pieces) = mpsc::channel(PIECES);
        let (layer, blob, diff_id, permit) =
            (self.clone(), blob.clone(), diff_id.clone(), permit.clone());
        let unpacking = blocking(move || {
            let _permit = permit;
            let mut arriving = Arriving::new(pieces, writer);
            let unfinished = layer.unpack_here(&blob, &diff_id, &mut arriving)?;
            arriving.keep()?;
            Ok(unfinished)
        });
        let ((), unfinished) = tokio::join!(pump(stream, sender), unpacking);
        unfinished.map(Some)
    }

    fn unpack_here(
        &self,
        blob: &Descriptor,
        diff_id: &Digest,
        archive: impl io::Read + Send,
    ) -> Result<Unfinished, StoreError> {
        let store = &self.inner.store;
        let target = store.snapshots().unfinished(self.row());
        store.snapshots().clear(self.row())?;
        store.snapshots().create_at(&target)?;
        let unpacking = Unpacking {
            blob,
            diff_id,
            flavor: store.flavor(),
            target: &target,
        };
        match unpacking.run(archive) {
            Ok(unpacked) => Ok(Unfinished {
                digest: blob.digest().to_string(),
                directory: target,
                implied: unpacked.implied,
            }),
            Err(error) => {
                remove_tree(&target)?;
                Err(error)
            }
        }
    }

    /// Completes an unpacked layer, after all below it.
    fn complete(&self, unfinished: &Unfinished) -> Result<(), StoreError> {
        if let (false, Some(parent)) = (unfinished.implied.is_empty(), self.parents().first())
            // Without the layers below (when only these few are wanted) such directories keep plain attributes.
            && !parent.is_lazy()?
        {
            apply::inherit_directories(
                &unfinished.directory,
                &unfinished.implied,
                &parent.mount_dirs()?,
            )
            .map_err(|error| StoreError::Unpack {
                digest: unfinished.digest.clone(),
                reason: error.to_string(),
            })?;
        }
        self.arrived(Files::Unpacked)
    }
}

/// Fetches and unpacks layers, given bottom first.
async fn unpack_all(store: &Store, layers: Vec<Ref>) -> Result<(), StoreError> {
    let permit = Arc::new(permit_for(store, &layers).await?);
    let mut missing = Vec::new();
    for layer in layers {
        if !layer.has_files()? {
            missing.push(layer);
        }
    }
    // Owned layers: a stream of futures that borrow could not move between threads.
    let unfinished: Vec<Unfinished> = stream::iter(missing.clone())
        .map(|layer| {
            let permit = permit.clone();
            async move { layer.unpack(&permit).await }
        })
        .buffered(PARALLEL_LAYERS)
        .try_collect()
        .await?;
    blocking(move || {
        let _permit = permit;
        missing
            .iter()
            .zip(&unfinished)
            .try_for_each(|(layer, unfinished)| layer.complete(unfinished))
    })
    .await
}

/// Waits until no other task or process makes the files of these layers. In the order of their rows, so that no
/// two of us wait for each other.
pub(super) async fn permit_for(store: &Store, layers: &[Ref]) -> Result<Permit, StoreError> {
    let mut layers: Vec<&Ref> = layers.iter().collect();
    layers.sort_by_key(|layer| layer.row());
    let processes = store.new_lock_owner()?;
    let mut tasks = Vec::with_capacity(layers.len());
    for layer in layers {
        tasks.push(layer.inner.work.clone().lock_owned().await);
        while !processes.try_lock(Purpose::Work, layer.row(), Mode::Exclusive)? {
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(Permit {
        _tasks: tasks,
        _processes: processes,
    })
}

/// Moves a download to the thread that unpacks it, until either ends.
async fn pump(mut stream: FetchStream, pieces: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = stream.read_buf(&mut piece).await;
        let is_last = !matches!(read, Ok(count) if count > 0);
        let sent = match read {
            Ok(0) => return,
            Ok(_) => pieces.send(Ok(piece.freeze())).await,
            Err(error) => pieces.send(Err(error)).await,
        };
        if is_last || sent.is_err() {
            return;
        }
    }
}

/// Runs `work` on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Interrupted {
            reason: error.to_string(),
        }),
    }
}
