//! What can go wrong with a containerd.

use std::error::Error as _;
use std::path::PathBuf;

use tonic::{Code, Status};

/// An error of a containerd, or on the way to it.
#[derive(Debug, thiserror::Error)]
pub enum ContainerdError {
    /// An address that is none of a unix socket.
    #[error("invalid containerd address {address:?}: {reason}")]
    Address {
        /// What was written.
        address: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A name that containerd does not take.
    #[error("invalid containerd {what} {name:?}: {reason}")]
    Name {
        /// What is named.
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nobody answers.
    #[error("containerd at {} does not answer ({what}): {reason}; make sure containerd is running", address.display())]
    Unreachable {
        /// The socket.
        address: PathBuf,
        /// What was attempted.
        what: String,
        /// Why it failed.
        reason: String,
    },
    /// containerd says no.
    #[error("containerd at {}, {what}: {message}", address.display())]
    Refused {
        /// The socket.
        address: PathBuf,
        /// What was attempted.
        what: String,
        /// What it said.
        message: String,
        /// The gRPC code.
        code: Code,
    },
    /// An answer that makes no sense.
    #[error("containerd at {}, {what}: unusable answer: {reason}", address.display())]
    Malformed {
        /// The socket.
        address: PathBuf,
        /// What was attempted.
        what: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// Our own copy of a blob cannot be read.
    #[error("read blob {digest} to give it to containerd: {source}")]
    Read {
        /// The blob.
        digest: String,
        /// Why.
        source: std::io::Error,
    },
}

impl ContainerdError {
    pub(crate) fn of_status(address: &std::path::Path, what: &str, status: &Status) -> Self {
        let (address, what) = (address.to_owned(), what.to_owned());
        // Only what happened on the way has a cause; what containerd says has none.
        match status.source() {
            Some(source) => Self::Unreachable {
                address,
                what,
                reason: innermost(source),
            },
            None => Self::Refused {
                address,
                what,
                message: status.message().to_owned(),
                code: status.code(),
            },
        }
    }

    /// Whether what was asked for is not there.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(Code::NotFound)
    }

    /// Whether what was to be made is there already.
    pub fn is_already_exists(&self) -> bool {
        self.code() == Some(Code::AlreadyExists)
    }

    pub(crate) fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// The cause at the bottom: those above it say no more than that transport failed.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut current = error;
    while let Some(source) = current.source() {
        current = source;
    }
    current.to_string()
}
