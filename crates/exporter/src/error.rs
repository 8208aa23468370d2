//! Why an export failed.

use std::path::PathBuf;

use kiln_session::SessionError;

use crate::layers::LayerError;
use crate::options::OptionError;

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The output's keys do not fit the result.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// A layer blob could not be made or fetched.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The image config cannot be used.
    #[error("invalid image config for export: {0}")]
    Config(String),
    /// Results that this output cannot hold.
    #[error("{0}")]
    Result(String),
    /// A predicate could not be made.
    #[error("failed to make attestation: {0}")]
    Predicate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A target that this output cannot write to.
    #[error("output type={kind} cannot be written to {target}")]
    Target {
        /// The output.
        kind: &'static str,
        /// What it was given.
        target: &'static str,
    },
    /// Reading or writing a file failed.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was being done, for example `write`.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Files could not be sent to the client.
    #[error(transparent)]
    Transfer(kiln_session::transfer::TransferError),
    /// Writing the output stream failed.
    #[error("write the output: {0}")]
    Stream(#[source] std::io::Error),
    /// The client would not take it.
    #[error(transparent)]
    Client(SessionError),
    /// A blob in the store is not what its name says.
    #[error(
        "blob {expected} in the store holds {found}: it was changed on disk; prune it and build again"
    )]
    Changed {
        /// The blob's name.
        expected: String,
        /// What it holds.
        found: String,
    },
    /// The store failed.
    #[error("{0}")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// containerd, which keeps images, failed.
    #[error(transparent)]
    Containerd(#[from] kiln_containerd::ContainerdError),
    /// A push failed.
    #[error("failed to push {name}: {source}")]
    Push {
        /// The image name.
        name: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The export was given up.
    #[error("the export was canceled")]
    Canceled,
}

impl From<kiln_store::tar::WriteError> for ExportError {
    fn from(error: kiln_store::tar::WriteError) -> Self {
        match error {
            kiln_store::tar::WriteError::Io(error) => Self::Stream(error),
            other => Self::Stream(std::io::Error::other(other)),
        }
    }
}
