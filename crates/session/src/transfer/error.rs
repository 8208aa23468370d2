//! Why a transfer failed.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The call that carries the packets failed, or was refused.
    #[error("{}", .0.message())]
    Call(tonic::Status),
    /// The other side reports an error of its own.
    #[error("the other side of the file transfer reports: {0}")]
    Reported(String),
    /// The other side went away.
    #[error("the other side ended the file transfer before it was complete")]
    Ended,
    /// The other side does not keep to the protocol.
    #[error("file transfer: {0}")]
    Protocol(String),
    /// The other side names a path that it may not.
    #[error("file transfer: path {} is refused: {reason}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// A file's content did not come whole.
    #[error(
        "{}: {received} of {announced} bytes were sent: the file changed meanwhile or cannot be read",
        path.display()
    )]
    Torn {
        /// The file.
        path: PathBuf,
        /// Bytes that came.
        received: u64,
        /// Bytes it was said to have.
        announced: u64,
    },
    /// A file changed each time it was read.
    #[error(
        "{} keeps changing while it is sent; stop what writes to it, or exclude it in .dockerignore",
        path.display()
    )]
    Changing {
        /// The file.
        path: PathBuf,
    },
    /// Malformed patterns.
    #[error(transparent)]
    Pattern(#[from] kiln_store::walk::FilterError),
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Nobody waits for the transfer any more.
    #[error("the file transfer was stopped")]
    Stopped,
    /// A thread of ours died. A bug.
    #[error("internal error: {0}")]
    Internal(String),
}

impl TransferError {
    pub(super) fn path(path: &[u8], reason: &'static str) -> Self {
        Self::Path {
            path: path_of(path).to_owned(),
            reason,
        }
    }

    pub(super) fn file(action: &'static str, path: &[u8], source: impl Into<io::Error>) -> Self {
        Self::File {
            action,
            path: path_of(path).to_owned(),
            source: source.into(),
        }
    }

    /// As the status of a call.
    pub(super) fn to_status(&self) -> tonic::Status {
        let text = self.to_string();
        match self {
            Self::Call(status) => status.clone(),
            Self::Protocol(_) | Self::Path { .. } | Self::Pattern(_) => {
                tonic::Status::invalid_argument(text)
            }
            Self::Stopped | Self::Ended => tonic::Status::cancelled(text),
            Self::Internal(_) => tonic::Status::internal(text),
            _ => tonic::Status::unknown(text),
        }
    }
}

pub(super) fn path_of(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}
