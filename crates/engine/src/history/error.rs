//! Why the history could not serve.

use std::path::{Path, PathBuf};

use kiln_store::StoreError;
use kiln_store::content::ContentError;
use kiln_store::database::DatabaseError;

/// Why the history could not serve.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// There is no such record.
    #[error("no build {build:?} in the history: `buildctl debug histories` lists what there is")]
    NotFound {
        /// The ref asked for.
        build: String,
    },
    /// There is no such build, neither running nor in the history.
    #[error("no such job {build}")]
    NoSuchBuild {
        /// The ref asked for.
        build: String,
    },
    /// It can be done only once the build is over.
    #[error("build {build:?} is still running: try again when it is over")]
    Running {
        /// The ref.
        build: String,
    },
    /// A filter cannot be understood.
    #[error("invalid history filter {filter:?}: {reason}")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A stored log is damaged.
    #[error("the log of build {build:?} is damaged: {reason}")]
    Damaged {
        /// Whose log.
        build: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A log cannot be read or written.
    #[error("history log {}: {source}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// The error.
        #[source]
        source: std::io::Error,
    },
    /// The engine is ending.
    #[error("the history is closed: its engine is stopping")]
    Closed,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The content store failed.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HistoryError {
    pub(super) fn log(path: &Path, source: std::io::Error) -> Self {
        Self::Log {
            path: path.to_owned(),
            source,
        }
    }
}
