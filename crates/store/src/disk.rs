//! Failures of the disk, told with the path and a way out.

use std::io;
use std::path::{Path, PathBuf};

/// A file operation failed: what was attempted, where, why, and what the user can do about it.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}{}", path.display(), cause.advice())]
pub struct DiskError {
    /// What was attempted, as a verb: "write", "create directory".
    pub action: &'static str,
    /// Where.
    pub path: PathBuf,
    /// The class of the failure.
    pub cause: DiskCause,
    #[source]
    source: io::Error,
}

/// The classes of disk failures a user can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskCause {
    /// No space or no inodes are left, or a quota is exceeded.
    Full,
    /// The file system is mounted read-only.
    ReadOnly,
    /// The user lacks permission.
    Denied,
    /// The file or directory is not there.
    Missing,
    /// Anything else.
    Other,
}

impl DiskError {
    /// Wraps `source` with what was attempted and where.
    pub fn new(action: &'static str, path: &Path, source: impl Into<io::Error>) -> DiskError {
        let source = source.into();
        DiskError {
            action,
            path: path.to_owned(),
            cause: DiskCause::of(&source),
            source,
        }
    }

    /// The kind of the underlying error.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl DiskCause {
    fn of(error: &io::Error) -> DiskCause {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskCause::Full,
            io::ErrorKind::ReadOnlyFilesystem => DiskCause::ReadOnly,
            io::ErrorKind::PermissionDenied => DiskCause::Denied,
            io::ErrorKind::NotFound => DiskCause::Missing,
            _ => DiskCause::Other,
        }
    }

    fn advice(self) -> &'static str {
        match self {
            DiskCause::Full => {
                "; free space on that file system (`buildctl prune` removes unused build state) or choose another root with --root"
            }
            DiskCause::ReadOnly => {
                "; the file system is read-only: choose a writable root with --root"
            }
            DiskCause::Denied => {
                "; run as a user who may write there or choose another root with --root"
            }
            DiskCause::Missing | DiskCause::Other => "",
        }
    }
}

/// Bytes that the file system of `path` holds in all.
pub fn size(path: &Path) -> Result<u64, DiskError> {
    let found = rustix::fs::statvfs(path).at("look up the size of", path)?;
    Ok(found.f_blocks * found.f_frsize)
}

/// Bytes that can still be written to the file system of `path`.
pub fn free(path: &Path) -> Result<u64, DiskError> {
    let found = rustix::fs::statvfs(path).at("look up free space of", path)?;
    Ok(found.f_bfree * found.f_frsize)
}

/// Adds the action and path to an I/O result.
pub(crate) trait AtPath<T> {
    /// Turns the error into a [`DiskError`].
    fn at(self, action: &'static str, path: &Path) -> Result<T, DiskError>;
}

impl<T, E: Into<io::Error>> AtPath<T> for Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, DiskError> {
        self.map_err(|error| DiskError::new(action, path, error))
    }
}
