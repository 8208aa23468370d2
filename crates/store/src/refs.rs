//! Refs: results of build steps as stacks of overlay layers.

pub(crate) mod hold;
pub(crate) mod record;

mod acquire;
mod stack;
mod values;

pub mod layers;

mod combine;
mod compare;
mod entry;
mod moved;
mod mutable;
mod origins;

mod decompress;
mod keep;
mod lazy;
mod materialize;
mod unpack;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use crate::mount::Mount;
use crate::store::{Store, StoreError};

use hold::Hold;
use record::{Files, Record};

pub use keep::keep;
pub use layers::{LayerBlob, LayerInfo};
pub use lazy::{Fetch, FetchError, FetchStream, LazyLayer};
pub use mutable::MutableRef;

pub(crate) use entry::copy_tree;

/// What a record of disk usage is for, as `du` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RecordType {
    /// A step's result.
    #[default]
    Regular,
    /// Made for the engine itself.
    Internal,
    /// A frontend image.
    Frontend,
    /// Files sent by a client.
    SourceLocal,
    /// A git checkout.
    SourceGitCheckout,
    /// The directory of a cache mount.
    ExecCacheMount,
}

impl RecordType {
    /// Upstream's name of the type: "regular", "source.local", ….
    pub fn as_str(self) -> &'static str {
        self.name()
    }
}

/// What to record with a new ref.
#[derive(Debug, Clone, Default)]
pub struct MutableOptions {
    /// Told by `du --verbose`.
    pub description: String,
    /// What it is for.
    pub record_type: RecordType,
    /// When it was made; now, if `None`.
    pub created: Option<SystemTime>,
}

/// An immutable tree of files. Cheap to clone; while one exists in any process, the tree and all it is built of
/// stay on disk. Dropping it never blocks.
#[derive(Debug, Clone)]
pub struct Ref {
    inner: Arc<RefInner>,
}

#[derive(Debug)]
pub(crate) struct RefInner {
    store: Store,
    record: Record,
    parents: Vec<Ref>,
    /// Where the files of the own layer are, once they are here.
    files: OnceLock<Files>,
    fetchers: Mutex<HashMap<String, Arc<dyn Fetch>>>,
    /// Taken by the task of this process that makes the files.
    work: Arc<tokio::sync::Mutex<()>>,
    /// Whether somebody asked for this very ref, not only for one built on it.
    asked_for: AtomicBool,
    _hold: Hold,
}

impl Ref {
    /// The id that [`Store::get`] finds it by.
    pub fn id(&self) -> &str {
        &self.inner.record.id
    }

    /// The direct parents: the layer below, the merged refs, or lower and upper of a diff.
    pub fn parents(&self) -> &[Ref] {
        &self.inner.parents
    }

    /// The description given when it was made.
    pub fn description(&self) -> &str {
        &self.inner.record.description
    }

    /// What it is for.
    pub fn record_type(&self) -> RecordType {
        self.inner.record.record_type
    }

    /// When it was made.
    pub fn created(&self) -> SystemTime {
        self.inner.record.created
    }

    /// Read-only mounts of the tree. It must not be lazy.
    pub fn mounts(&self) -> Result<Vec<Mount>, StoreError> {
        self.read_only_mounts()
    }

    /// The one directory that holds the whole tree as it is, when there is such a directory: no mount is needed
    /// to read it. Never write there.
    pub fn local_dir(&self) -> Result<Option<PathBuf>, StoreError> {
        self.plain_dir()
    }

    pub(crate) fn row(&self) -> crate::lease::locks::Row {
        self.inner.record.row
    }

    /// Counts as a use of the ref when the last handle goes.
    pub(crate) fn asked_for(self) -> Ref {
        self.inner.asked_for.store(true, Ordering::Relaxed);
        self
    }
}

impl Drop for RefInner {
    fn drop(&mut self) {
        if *self.asked_for.get_mut() {
            self.store.touch(self.record.row);
        }
    }
}

/// A new name for a ref: 25 characters of 0-9a-z, as upstream's.
pub(crate) fn new_id() -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    // The standard library's hasher is keyed with the system's random numbers anew for each value made.
    let word = || u128::from(RandomState::new().hash_one(std::process::id()));
    let mut number = word() << 64 | word();
    (0..25)
        .map(|_| {
            let digit = (number % 36) as usize;
            number /= 36;
            DIGITS[digit] as char
        })
        .collect()
}
