//! Failures of file operations, with the texts that users and tools of the field know.

use std::io;

/// Why a file operation failed. Paths are those inside the root.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The kernel refused.
    #[error("{op} {path}: {}", reason(.source))]
    Os {
        /// The operation.
        op: &'static str,
        /// Path inside the root.
        path: String,
        /// What happened.
        source: io::Error,
    },
    /// A pattern matches nothing.
    #[error("{0} not found")]
    NoMatch(String),
    /// The parent of a destination does not exist, and making it was not asked for.
    #[error("failed to stat {dest}: {source}")]
    NoDestParent {
        /// The destination.
        dest: String,
        /// What happened.
        source: Box<TreeError>,
    },
    /// A directory would have to replace something that is none.
    #[error("cannot copy to non-directory: {0}")]
    NotADirectory(String),
    /// Something else would have to replace a directory.
    #[error("cannot replace to directory {0} with file")]
    IsADirectory(String),
    /// The root itself cannot be removed or replaced.
    #[error("{op}: {path:?} is the root of the file system; name something inside it")]
    IsRoot {
        /// The operation.
        op: &'static str,
        /// The path as given.
        path: String,
    },
    /// A permission string is malformed.
    #[error("invalid mode {0:?}: use octal like 0755 or symbols like u+x,go-w")]
    Mode(String),
    /// A wildcard is malformed.
    #[error("{pattern}: syntax error in pattern")]
    Wildcard {
        /// The pattern.
        pattern: String,
    },
    /// An include or exclude pattern is malformed.
    #[error("invalid {list}patterns: {source}")]
    Patterns {
        /// `include` or `exclude`.
        list: &'static str,
        /// What is wrong.
        source: crate::pattern::PatternError,
    },
    /// Symlinks go in a circle.
    #[error("{0}: too many links")]
    TooManyLinks(String),
    /// A tree is too deep to be walked.
    #[error("{0}: more than {limit} directories deep", limit = super::dir::MAX_DEPTH)]
    TooDeep(String),
    /// A file is larger than its reader accepts.
    #[error("{path:?} exceeds {limit} bytes")]
    TooLarge {
        /// The file.
        path: String,
        /// The limit.
        limit: u64,
    },
    /// An archive could not be unpacked.
    #[error("unpack {path}: {source}")]
    Archive {
        /// The archive.
        path: String,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl TreeError {
    /// Whether a directory is where a file was wanted.
    pub fn is_a_directory(&self) -> bool {
        matches!(self, Self::Os { source, .. } if source.kind() == io::ErrorKind::IsADirectory)
    }

    /// Whether nothing is at the path.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Os { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::NoDestParent { source, .. } => source.is_not_found(),
            Self::NoMatch(_) => true,
            _ => false,
        }
    }

    pub(super) fn os(
        op: &'static str,
        path: impl AsRef<[u8]>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Os {
            op,
            path: String::from_utf8_lossy(path.as_ref()).into_owned(),
            source: source.into(),
        }
    }
}

/// The system's own words for an error, without the number that Rust puts behind them.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut characters = text.chars();
    match (error.raw_os_error(), characters.next()) {
        (Some(_), Some(first)) => first.to_lowercase().chain(characters).collect(),
        _ => text.to_owned(),
    }
}
