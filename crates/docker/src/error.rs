//! Why something with a Docker engine failed.

use std::io;
use std::path::{Path, PathBuf};

/// Why something with a Docker engine failed.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// The address is not one that can be used.
    #[error("invalid address {address:?} of a Docker engine: {reason}")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it, and what to write.
        reason: &'static str,
    },
    /// Nobody answers.
    #[error("failed to reach a Docker engine at {}: {source}; {hint}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// Somebody answers, but not as an engine does.
    #[error("what listens at {} does not speak like a Docker engine: {reason}", socket.display())]
    Protocol {
        /// The socket.
        socket: PathBuf,
        /// What it said.
        reason: String,
    },
    /// The engine refused or failed.
    #[error("the Docker engine at {} could not {what}: {message}", socket.display())]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// What it was asked.
        what: &'static str,
        /// Its own words.
        message: String,
    },
}

impl DockerError {
    pub(crate) fn connect(socket: &Path, source: io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::NotFound => {
                "is one running? name its socket with dest=docker:///PATH or DOCKER_HOST"
            }
            io::ErrorKind::PermissionDenied => "run as root, or as a member of the group docker",
            io::ErrorKind::ConnectionRefused => "nobody listens there; start the engine",
            _ => "name another socket with dest=docker:///PATH or DOCKER_HOST",
        };
        Self::Connect {
            socket: socket.to_owned(),
            source,
            hint,
        }
    }

    pub(crate) fn protocol(socket: &Path, reason: impl ToString) -> Self {
        Self::Protocol {
            socket: socket.to_owned(),
            reason: reason.to_string(),
        }
    }
}
