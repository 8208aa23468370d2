//! The store itself: one root directory, open in any number of processes at once.

use std::path::{Path, PathBuf};

use crate::cache_mount::{CacheMount, CacheMountRequest};
use crate::content::{ContentError, ContentStore};
use crate::database::{Database, DatabaseError};
use crate::disk::DiskError;
use crate::gc::{PruneOptions, UsageOptions, UsageRecord};
use crate::lease::Lease;
use crate::mount::{Mount, MountError, MountedDir};
use crate::refs::{FetchError, LayerBlob, LazyLayer, MutableOptions, MutableRef, Ref};

/// How to open a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The directory that holds everything; made if it is absent.
    pub root: PathBuf,
}

/// Everything Kiln keeps on disk under one root. Cheap to clone; safe to share between threads, and the root
/// between processes.
#[derive(Debug, Clone)]
pub struct Store {
    _todo: (),
}

impl Store {
    /// Opens the store, making or upgrading it as needed. What killed processes left behind is removed in the
    /// background.
    pub fn open(options: StoreOptions) -> Result<Store, StoreError> {
        todo!()
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        todo!()
    }

    /// Blobs by digest.
    pub fn content(&self) -> &ContentStore {
        todo!()
    }

    /// The database, for tables of other crates.
    pub fn database(&self) -> &Database {
        todo!()
    }

    /// Begins a lease; see [`Lease`].
    pub fn lease(&self) -> Result<Lease, StoreError> {
        todo!()
    }

    /// The ref with this id, or `None` if it does not exist (any more).
    pub fn get(&self, id: &str) -> Result<Option<Ref>, StoreError> {
        todo!()
    }

    /// Starts a tree on top of `parent`, or an empty one. The parent need not be materialized until its mounts are
    /// asked for.
    pub fn mutable(
        &self,
        parent: Option<&Ref>,
        options: MutableOptions,
    ) -> Result<MutableRef, StoreError> {
        todo!()
    }

    /// The ref for a layer on top of `parent`, to be fetched when its files are needed. A ref of the same layers
    /// that exists already is returned instead, and learns of the blob.
    pub fn layer(&self, parent: Option<&Ref>, layer: LazyLayer) -> Result<Ref, StoreError> {
        todo!()
    }

    /// The layers of all `inputs` on top of each other, the last topmost; `None` stands for an empty tree.
    pub fn merge(
        &self,
        inputs: &[Option<Ref>],
        options: MutableOptions,
    ) -> Result<Option<Ref>, StoreError> {
        todo!()
    }

    /// What leads from `lower` to `upper`; `None` stands for an empty tree. The layers of `upper` above `lower` if
    /// it is built on it, a comparison of the two trees otherwise (made by [`Ref::materialize`]).
    pub fn diff(
        &self,
        lower: Option<&Ref>,
        upper: Option<&Ref>,
        options: MutableOptions,
    ) -> Result<Option<Ref>, StoreError> {
        todo!()
    }

    /// Records a blob of the layer that `owner` (from [`crate::refs::LayerInfo::owner`]) stands for.
    pub fn set_layer_blob(&self, owner: &Ref, blob: LayerBlob) -> Result<(), StoreError> {
        todo!()
    }

    /// The ref last stored under an index key, such as `local:<shared key>`, if it still exists.
    pub fn ref_by_key(&self, key: &str) -> Result<Option<Ref>, StoreError> {
        todo!()
    }

    /// Stores a ref under an index key.
    pub fn set_key(&self, key: &str, target: &Ref) -> Result<(), StoreError> {
        todo!()
    }

    /// Opens a tree for this process; see [`MountedDir`]. Blocks: from async code use `spawn_blocking`.
    pub fn mount(&self, mounts: &[Mount]) -> Result<MountedDir, StoreError> {
        todo!()
    }

    /// A cache directory, waiting for other users if it must. Dropping the future stops waiting.
    pub async fn cache_mount(
        &self,
        request: CacheMountRequest<'_>,
    ) -> Result<CacheMount, StoreError> {
        todo!()
    }

    /// Every record with its size. Sizes not known yet are measured, which may take a while.
    pub fn disk_usage(&self, options: &UsageOptions) -> Result<Vec<UsageRecord>, StoreError> {
        todo!()
    }

    /// Removes records nobody uses as `options` say, each reported to `removed` as it goes, then blobs that
    /// nothing needs. Return `false` from `removed` to stop.
    pub fn prune(
        &self,
        options: &PruneOptions,
        removed: &mut dyn FnMut(UsageRecord) -> bool,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// Makes everything committed so far survive a power failure. Call once per build result.
    pub fn sync(&self) -> Result<(), StoreError> {
        todo!()
    }

    /// Waits until everything released so far has been cleaned up.
    pub fn settle(&self) {
        todo!()
    }
}

/// Why the store could not serve.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The root was made by a newer program.
    #[error("{} has format {found} and this program knows {known}: use the newer program or another root", root.display())]
    Newer {
        /// The root.
        root: PathBuf,
        /// The format found.
        found: u32,
        /// The format this program has.
        known: u32,
    },
    /// A lazy ref was used as if its files were here. A bug of the caller.
    #[error("ref {id} is lazy: materialize it first")]
    Lazy {
        /// Which.
        id: String,
    },
    /// A lazy layer cannot be had.
    #[error(
        "layer {digest} is not in the store and nothing offers to fetch it: build again without the cache (--no-cache) or pull the image again"
    )]
    Unfetchable {
        /// The blob.
        digest: String,
    },
    /// Fetching a layer failed.
    #[error("cannot fetch layer {digest}: {source}")]
    Fetch {
        /// The blob.
        digest: String,
        /// The implementer's error.
        #[source]
        source: FetchError,
    },
    /// A layer cannot be unpacked.
    #[error("cannot unpack layer {digest}: {reason}")]
    Unpack {
        /// The blob.
        digest: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A filter cannot be understood.
    #[error("invalid filter {filter:?}: {reason}")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Mounting failed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The content store failed.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
