//! The store itself: one root directory, open in any number of processes at once.

mod error;
mod open;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::content::ContentStore;
use crate::database::Database;
use crate::disk::DiskError;
use crate::gc::sweep;
use crate::lease::Lease;
use crate::lease::locks::{LockFile, Row};
use crate::mount::{Mount, MountedDir, OverlayFlavor};
use crate::reaper::{Job, Reaper};
use crate::refs::hold::{Hold, Holds};
use crate::snapshot::Snapshots;

pub use error::{StoreError, StoreErrorKind};

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
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    core: Arc<Core>,
    reaper: Reaper,
}

/// What the reaper shares with the handles.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) root: PathBuf,
    pub(crate) database: Database,
    pub(crate) content: ContentStore,
    pub(crate) snapshots: Snapshots,
    pub(crate) holds: Arc<Holds>,
    pub(crate) flavor: OverlayFlavor,
    /// The running boot of the machine.
    pub(crate) boot: String,
}

impl Core {
    /// An owner of locks that conflicts with all others, also in this process.
    pub(crate) fn new_lock_owner(&self) -> Result<LockFile, DiskError> {
        LockFile::open(&self.root.join(open::LOCKS))
    }

    pub(crate) fn leases(&self) -> PathBuf {
        self.root.join(open::LEASES)
    }
}

impl Store {
    /// Opens the store, making or upgrading it as needed. What killed processes left behind is removed in the
    /// background.
    pub fn open(options: StoreOptions) -> Result<Store, StoreError> {
        let core = Arc::new(open::open(options)?);
        let reaper = Reaper::start(core.clone())?;
        reaper.send(Job::Sweep);
        Ok(Store {
            shared: Arc::new(Shared { core, reaper }),
        })
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        &self.core().root
    }

    /// Blobs by digest.
    pub fn content(&self) -> &ContentStore {
        &self.core().content
    }

    /// The database, for tables of other crates.
    pub fn database(&self) -> &Database {
        &self.core().database
    }

    /// Begins a lease; see [`Lease`].
    pub fn lease(&self) -> Result<Lease, StoreError> {
        Ok(Lease::begin(&self.core().leases())?)
    }

    /// Whether the lease of this name lives, in whatever process; see [`Lease::id`].
    pub fn lease_lives(&self, id: &str) -> Result<bool, StoreError> {
        Ok(Lease::lives(&self.core().leases(), id)?)
    }

    /// Opens a tree for this process; see [`MountedDir`]. Blocks: from async code use `spawn_blocking`.
    pub fn mount(&self, mounts: &[Mount]) -> Result<MountedDir, StoreError> {
        match mounts {
            [mount] => Ok(MountedDir::open(mount, self)?),
            _ => Err(StoreError::Mounts {
                count: mounts.len(),
            }),
        }
    }

    /// Makes everything committed so far survive a power failure. Call once per build result.
    pub fn sync(&self) -> Result<(), StoreError> {
        let core = self.core();
        // Only what is here before the write-out is covered by it.
        let begin = SystemTime::now();
        let rows: Vec<Row> = core.database.query(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT row FROM refs WHERE boot IS NOT NULL AND state != 'mutable' AND files != 'lazy'",
            )?;
            query.query_map([], |row| row.get(0))?.collect()
        })?;
        if rows.is_empty() {
            return Ok(());
        }
        core.snapshots.sync()?;
        core.database.transact_durably(|transaction| {
            let mut update =
                transaction.prepare_cached("UPDATE refs SET boot = NULL WHERE row = ?1")?;
            for row in rows {
                update.execute([row])?;
            }
            sweep::set_synced(transaction, begin)
        })?;
        Ok(())
    }

    /// Waits until everything released so far has been cleaned up.
    pub fn settle(&self) {
        self.shared.reaper.settle();
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.shared.core
    }

    pub(crate) fn snapshots(&self) -> &Snapshots {
        &self.core().snapshots
    }

    pub(crate) fn holds(&self) -> &Arc<Holds> {
        &self.core().holds
    }

    pub(crate) fn flavor(&self) -> OverlayFlavor {
        self.core().flavor
    }

    pub(crate) fn boot(&self) -> &str {
        &self.core().boot
    }

    pub(crate) fn new_lock_owner(&self) -> Result<LockFile, DiskError> {
        self.core().new_lock_owner()
    }

    pub(crate) fn discard(&self, hold: Hold) {
        self.shared.reaper.send(Job::Discard(hold));
    }

    pub(crate) fn bury(&self, grave: PathBuf) {
        self.shared.reaper.send(Job::Delete(grave));
    }

    pub(crate) fn unmount(&self, tree: OwnedFd) {
        self.shared.reaper.send(Job::Unmount(tree));
    }

    pub(crate) fn touch(&self, row: Row) {
        self.shared.reaper.send(Job::Touch(row, SystemTime::now()));
    }
}
