//! How much an archive may ask for, and what is wrong with one that cannot be read.

use std::io;

/// Bounds on what an archive may make its reader hold or deliver.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Members.
    pub entries: u64,
    /// Bytes of one member's extended header or sparse map.
    pub special_bytes: u64,
    /// Bytes of one name or link target.
    pub name_bytes: usize,
    /// Sum of all members' expanded sizes.
    pub total_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 10_000_000,
            special_bytes: 1 << 20,
            name_bytes: 4096,
            total_bytes: 1 << 42,
        }
    }
}

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Reading the stream failed.
    #[error("read archive at byte {offset}: {source}")]
    Io {
        /// Where in the stream.
        offset: u64,
        /// What happened.
        source: io::Error,
    },
    /// The stream ends inside a member.
    #[error("archive is cut off at byte {offset}; fetch or make it again")]
    Truncated {
        /// Where it ends.
        offset: u64,
    },
    /// The bytes are no tar archive.
    #[error("invalid tar header at byte {offset}: {reason}")]
    Header {
        /// Where in the stream.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The archive asks for more than the limits allow.
    #[error("archive exceeds the limit of {limit} {what} at byte {offset}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
        /// Where in the stream.
        offset: u64,
    },
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io { source, .. } => source,
            ReadError::Truncated { .. } => Self::new(io::ErrorKind::UnexpectedEof, error),
            error => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}
