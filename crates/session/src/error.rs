//! The one error type of a session.

use std::path::PathBuf;

/// What can go wrong when a build asks its client for something.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The build names a directory that the client did not lend.
    #[error("no local directory named {name:?} was given to the build (use --local {name}=PATH)")]
    UnknownDirectory {
        /// The name the build asked for.
        name: String,
    },
    /// The build names an OCI layout that the client did not lend.
    #[error("no OCI layout named {name:?} was given to the build (use --oci-layout {name}=PATH)")]
    UnknownLayout {
        /// The store id the build asked for.
        name: String,
    },
    /// A lent path cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Path {
        /// The path as the user wrote it.
        path: PathBuf,
        /// Why it cannot be used.
        source: std::io::Error,
    },
    /// A secret exists but is larger than [`crate::MAX_SECRET_SIZE`].
    #[error("secret {id:?} is {size} bytes; the limit is {limit} bytes")]
    SecretTooBig {
        /// The secret's id.
        id: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The provider of credentials, secrets or agents failed.
    #[error("{what}: {message}")]
    Provider {
        /// What was asked for, such as `credentials for registry.example`.
        what: String,
        /// The provider's own words.
        message: String,
    },
}
