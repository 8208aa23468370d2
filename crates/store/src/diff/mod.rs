//! From an overlay upper directory to the layer tar that the field writes for it.

mod base;
mod changes;
mod layer;
mod same;

use std::io;
use std::path::{Path, PathBuf};

use oci_spec::image::Digest;

pub use changes::{Change, ChangeKind, changes};
pub use layer::write_layer;

use crate::tar::WriteError;
use crate::tree::reason;

/// A layer on disk and what lies below it.
#[derive(Clone, Copy, Debug)]
pub struct LayerSource<'a> {
    /// The overlay upper directory, with whiteout devices and opaque marks.
    pub upper: &'a Path,
    /// The directories below, topmost first as in overlay's `lowerdir`; a single mounted view of them works too.
    /// Empty for a bottom layer.
    pub lower: &'a [PathBuf],
}

/// How to write a layer.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiffOptions {
    /// Times later than this second are written as this second.
    pub epoch: Option<i64>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffSummary {
    /// Digest of the tar.
    pub diff_id: Digest,
    /// Bytes of the tar.
    pub size: u64,
    /// Members of the tar.
    pub entries: u64,
}

/// Why a layer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// A path of the layer could not be read.
    #[error("read layer: {path:?}: {}", reason(.source))]
    Path {
        /// Where, relative to the layer.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The tar could not be written.
    #[error("write layer: {0}")]
    Write(#[from] WriteError),
    /// The upper directory was mounted with directory redirects, which a layer cannot say.
    #[error("{0:?} is redirected: mount the snapshot with redirect_dir=off")]
    Redirected(PathBuf),
    /// A tree is too deep to be walked.
    #[error("{0:?}: too many directories deep")]
    TooDeep(PathBuf),
}

impl DiffError {
    fn path(path: &[u8], source: io::Error) -> Self {
        use std::os::unix::ffi::OsStrExt;
        Self::Path {
            path: PathBuf::from(std::ffi::OsStr::from_bytes(path)),
            source,
        }
    }
}
