//! The one error type of a session.

use std::path::PathBuf;
use std::time::Duration;

use tonic::{Code, Status};

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
    /// Nobody with this session id is connected.
    #[error("no active session for {id}: the client is gone or has not connected")]
    UnknownSession {
        /// The id asked for.
        id: String,
    },
    /// Another client is connected under the id.
    #[error("session {id} already exists")]
    DuplicateSession {
        /// The id.
        id: String,
    },
    /// The client left, or does not answer any more.
    #[error("{what}: session {id} has ended, the client is gone")]
    Gone {
        /// The session.
        id: String,
        /// What was asked for.
        what: String,
    },
    /// The client did not announce a method when it opened the session.
    #[error("method {method} not supported by the client")]
    NotServed {
        /// The method.
        method: &'static str,
    },
    /// The client answered with an error.
    #[error("{what}: {message}")]
    Refused {
        /// What was asked for.
        what: String,
        /// The kind of error.
        code: tonic::Code,
        /// The client's words.
        message: String,
    },
    /// The client took too long.
    #[error("{what}: the client did not answer within {} s", limit.as_secs())]
    TimedOut {
        /// What was asked for.
        what: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The other side sent what cannot be.
    #[error("{what}: {reason}")]
    Malformed {
        /// Where.
        what: String,
        /// What is wrong with it.
        reason: String,
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

/// How a session's errors look to the other side.
impl From<SessionError> for Status {
    fn from(error: SessionError) -> Self {
        let code = match &error {
            SessionError::UnknownDirectory { .. }
            | SessionError::UnknownLayout { .. }
            | SessionError::UnknownSession { .. } => Code::NotFound,
            SessionError::DuplicateSession { .. } => Code::AlreadyExists,
            SessionError::Malformed { .. } => Code::InvalidArgument,
            SessionError::SecretTooBig { .. } => Code::ResourceExhausted,
            SessionError::NotServed { .. } => Code::Unimplemented,
            SessionError::Gone { .. } => Code::Unavailable,
            SessionError::TimedOut { .. } => Code::DeadlineExceeded,
            SessionError::Refused { code, .. } => *code,
            SessionError::Path { .. } | SessionError::Provider { .. } => Code::Unknown,
        };
        Self::new(code, error.to_string())
    }
}
