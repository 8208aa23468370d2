//! Refs: results of build steps as stacks of overlay layers.

pub mod layers;
pub mod lazy;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::mount::Mount;
use crate::store::StoreError;

pub use layers::{LayerBlob, LayerInfo};
pub use lazy::{Fetch, FetchError, FetchStream, LazyLayer};

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
        todo!()
    }
}

/// An immutable tree of files. Cheap to clone; while one exists in any process, the tree and all it is built of
/// stay on disk. Dropping it never blocks.
#[derive(Debug, Clone)]
pub struct Ref {
    _todo: (),
}

impl Ref {
    /// The id that [`crate::Store::get`] finds it by.
    pub fn id(&self) -> &str {
        todo!()
    }

    /// The direct parents: the layer below, the merged refs, or lower and upper of a diff.
    pub fn parents(&self) -> &[Ref] {
        todo!()
    }

    /// The description given when it was made.
    pub fn description(&self) -> &str {
        todo!()
    }

    /// What it is for.
    pub fn record_type(&self) -> RecordType {
        todo!()
    }

    /// When it was made.
    pub fn created(&self) -> SystemTime {
        todo!()
    }

    /// Whether a layer of it is still to be downloaded or unpacked, or a diff to be computed.
    pub fn is_lazy(&self) -> Result<bool, StoreError> {
        todo!()
    }

    /// Downloads and unpacks what is lazy, layers in parallel. Afterwards [`Ref::mounts`] works. Several callers,
    /// also in other processes, share the work.
    pub async fn materialize(&self) -> Result<(), StoreError> {
        todo!()
    }

    /// Gives the lazy layer with this blob (anywhere in the stack) a way to fetch it, as after loading the ref in
    /// a new process.
    pub fn provide(&self, fetch: std::sync::Arc<dyn Fetch>) {
        todo!()
    }

    /// Lazy layers whose blob is not in the store and which nobody provided a [`Fetch`] for. A ref with any
    /// cannot be materialized and is no use as a cached result.
    pub fn unfetchable(&self) -> Result<Vec<LayerInfo>, StoreError> {
        todo!()
    }

    /// Read-only mounts of the tree. It must not be lazy.
    pub fn mounts(&self) -> Result<Vec<Mount>, StoreError> {
        todo!()
    }

    /// The one directory that holds the whole tree as it is, when there is such a directory: no mount is needed
    /// to read it. Never write there.
    pub fn local_dir(&self) -> Result<Option<PathBuf>, StoreError> {
        todo!()
    }

    /// The layers, bottom first, as they are exported.
    pub fn layers(&self) -> Result<Vec<LayerInfo>, StoreError> {
        todo!()
    }

    /// A value kept with the ref, as checksums of its files are; gone when the ref is.
    pub fn value(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        todo!()
    }

    /// Keeps a value with the ref.
    pub fn set_value(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        todo!()
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

/// A tree of files being made. Dropping it discards the tree without blocking; so does the death of the process.
#[derive(Debug)]
pub struct MutableRef {
    _todo: (),
}

impl MutableRef {
    /// The id the tree will keep as a [`Ref`].
    pub fn id(&self) -> &str {
        todo!()
    }

    /// Writable mounts of the tree. Each call prepares one mount: call again for a second one after the first is
    /// gone, never have two at a time.
    pub fn mounts(&self) -> Result<Vec<Mount>, StoreError> {
        todo!()
    }

    /// The directory where everything written to the tree lands. Without a parent it is the tree itself and may
    /// be written directly; with one it is the overlay's upper directory.
    pub fn upper_dir(&self) -> &Path {
        todo!()
    }

    /// The tree's directory when it has no parent and can be written without a mount.
    pub fn local_dir(&self) -> Option<&Path> {
        todo!()
    }

    /// Makes the tree immutable. No data is copied. No mount of it may be left.
    pub fn commit(self) -> Result<Ref, StoreError> {
        todo!()
    }
}
