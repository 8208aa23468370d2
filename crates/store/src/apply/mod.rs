//! From a layer tar to an overlay upper directory.

mod inherit;
mod unpack;
mod whiteout;

use std::ffi::CStr;
use std::io;
use std::path::PathBuf;

pub use inherit::inherit_directories;
pub use unpack::unpack_layer;

use crate::tar;
use crate::tree::reason;

/// How deletions are put on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whiteouts {
    /// Overlayfs marks with `trusted.overlay.opaque` (root).
    #[default]
    OverlayTrusted,
    /// Overlayfs marks with `user.overlay.opaque` (mounts with `userxattr`, without root).
    OverlayUser,
}

impl Whiteouts {
    /// The mark of a directory that hides the one below it.
    fn opaque(self) -> &'static CStr {
        match self {
            Self::OverlayTrusted => c"trusted.overlay.opaque",
            Self::OverlayUser => c"user.overlay.opaque",
        }
    }

    /// The mark of a directory that may hold deletions though it hides nothing. The kernel looks for them only where
    /// it merges directories and where it finds this; elsewhere it would list them. Empty, it says "copied up from an
    /// unknown place".
    pub(crate) fn origin(self) -> &'static CStr {
        match self {
            Self::OverlayTrusted => c"trusted.overlay.origin",
            Self::OverlayUser => c"user.overlay.origin",
        }
    }
}

/// Whose the unpacked files are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// As the archive says.
    #[default]
    Archive,
    /// The unpacking process; device nodes are left out as well.
    Process,
}

/// How to unpack a layer.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnpackOptions {
    /// How deletions are put on disk.
    pub whiteouts: Whiteouts,
    /// Whose the files are.
    pub ownership: Ownership,
    /// Bounds against hostile archives.
    pub limits: tar::Limits,
}

/// What was unpacked.
#[derive(Clone, Debug, Default)]
pub struct Unpacked {
    /// Members of the archive.
    pub entries: u64,
    /// Sum of the files' sizes.
    pub size: u64,
    /// Directories that the archive implies but does not list, parents first: they stand here with default attributes
    /// and should get those of the layers below, see [`inherit_directories`].
    pub implied: Vec<PathBuf>,
}

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The archive itself is bad.
    #[error("unpack layer: {0}")]
    Archive(#[from] tar::ReadError),
    /// The destination could not be opened.
    #[error("unpack layer: {0}")]
    Destination(#[from] crate::tree::TreeError),
    /// A member could not be put on disk.
    #[error("unpack layer: {path:?}: {}", reason(.source))]
    Member {
        /// The member's name.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}
