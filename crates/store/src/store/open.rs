//! The layout of a root directory, and what has to be right before it is used.

use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::{Core, StoreError, StoreOptions};
use crate::content::ContentStore;
use crate::database::{self, Database, STORE_MIGRATIONS};
use crate::disk::AtPath;
use crate::gc::sweep;
use crate::lease::locks::LockFile;
use crate::mount::OverlayFlavor;
use crate::refs::hold::Holds;
use crate::snapshot::Snapshots;

/// Held while a process opens the store, so that only one makes or upgrades it.
const OPENING: &str = "opening.lock";
/// One byte for each ref in use.
pub(super) const LOCKS: &str = "locks";
/// One file for each lease.
pub(super) const LEASES: &str = "leases";

/// Opens what is there and makes what is not.
pub(super) fn open(options: StoreOptions) -> Result<Core, StoreError> {
    let root = made_root(&options.root)?;
    let opening = root.join(OPENING);
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&opening)
        .at("open", &opening)?;
    flock(&file, FlockOperation::LockExclusive).at("lock", &opening)?;
    let database = Database::open(&root.join(database::FILE))?;
    database.migrate("store", STORE_MIGRATIONS)?;
    let core = Core {
        content: ContentStore::at(&root.join("content"))?,
        snapshots: Snapshots::at(&root)?,
        holds: Holds::new(LockFile::open(&root.join(LOCKS))?),
        flavor: OverlayFlavor::detect(),
        boot: boot_id(),
        database,
        root,
    };
    let leases = core.leases();
    fs::create_dir_all(&leases).at("create directory", &leases)?;
    sweep::after_power_failure(&core)?;
    Ok(core)
}

/// The root as an absolute path: it ends up in mounts that other processes perform. Trees hold set-uid programs and
/// other people's files, so a new root is for its owner alone.
fn made_root(path: &Path) -> Result<std::path::PathBuf, StoreError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .at("create directory", path)?;
    let root = fs::canonicalize(path).at("open", path)?;
    // Mount options are text, with separators of their own.
    match root.to_str() {
        Some(name) if !name.contains([':', ',', '\\']) => Ok(root),
        _ => Err(StoreError::RootName { root }),
    }
}

/// Names the running boot. Without one, every start counts as the same boot.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or("unknown".to_owned(), |id| id.trim().to_owned())
}
