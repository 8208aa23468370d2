//! Why the store could not serve.

use std::path::PathBuf;

use crate::content::ContentError;
use crate::database::DatabaseError;
use crate::diff::DiffError;
use crate::disk::{DiskCause, DiskError};
use crate::mount::MountError;
use crate::refs::FetchError;

/// Why the store could not serve.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The root's path cannot be given to mounts.
    #[error("overlay mounts cannot name the state directory {} (not UTF-8, or with a colon, comma or backslash): choose another one with --root", root.display())]
    RootName {
        /// The root.
        root: PathBuf,
    },
    /// A lazy ref was used as if its files were here. A bug of the caller.
    #[error("ref {id} is lazy: materialize it first")]
    Lazy {
        /// Which.
        id: String,
    },
    /// More or less than one mount makes up a tree. A bug of the caller.
    #[error("a tree is one mount, not {count}")]
    Mounts {
        /// How many were given.
        count: usize,
    },
    /// A lazy layer cannot be had.
    #[error(
        "layer {digest} is not in the store and nothing offers to fetch it: build again with --no-cache, or pull its image again"
    )]
    Unfetchable {
        /// The blob.
        digest: String,
    },
    /// Fetching a layer failed.
    #[error("cannot fetch layer {digest}: {source}")]
    Fetch {
        /// The blob.
        digest: String,
        /// The implementer's error.
        #[source]
        source: FetchError,
    },
    /// A layer cannot be unpacked.
    #[error("cannot unpack layer {digest}: {reason}")]
    Unpack {
        /// The blob.
        digest: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A filter cannot be understood.
    #[error("filters: parse error: [{filter}]: {reason}")]
    Filter {
        /// The filter, with the place marked.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The program is ending, or a part of it failed.
    #[error("interrupted: {reason}")]
    Interrupted {
        /// How.
        reason: String,
    },
    /// Mounting failed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The content store failed.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A layer cannot be compared with what it was made on.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Whom a [`StoreError`] concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// What was given is wrong: a layer, a digest, a filter.
    Input,
    /// The machine, its disk or the network is not able to.
    Environment,
    /// Mounts need root or a user namespace: start again inside one.
    Unprivileged,
    /// A mistake in this program.
    Internal,
}

impl StoreError {
    /// Whom it concerns.
    pub fn kind(&self) -> StoreErrorKind {
        match self {
            StoreError::Unpack { .. } | StoreError::Filter { .. } => StoreErrorKind::Input,
            StoreError::Content(error) => match error {
                ContentError::DigestMismatch { .. }
                | ContentError::SizeMismatch { .. }
                | ContentError::TooLarge { .. }
                | ContentError::Algorithm { .. } => StoreErrorKind::Input,
                ContentError::NotFound { .. } => StoreErrorKind::Internal,
                ContentError::Disk(_) => StoreErrorKind::Environment,
            },
            StoreError::Mount(MountError::Unprivileged { .. }) => StoreErrorKind::Unprivileged,
            StoreError::Mount(_)
            | StoreError::RootName { .. }
            | StoreError::Unfetchable { .. }
            | StoreError::Fetch { .. }
            | StoreError::Database(_)
            | StoreError::Interrupted { .. }
            | StoreError::Diff(_)
            | StoreError::Disk(_) => StoreErrorKind::Environment,
            StoreError::Lazy { .. } | StoreError::Mounts { .. } => StoreErrorKind::Internal,
        }
    }

    /// Whether space ran out, so that pruning and trying again may help.
    pub fn is_disk_full(&self) -> bool {
        match self {
            StoreError::Disk(error)
            | StoreError::Content(ContentError::Disk(error))
            | StoreError::Mount(MountError::Disk(error)) => error.cause == DiskCause::Full,
            StoreError::Database(error) => error.is_disk_full(),
            _ => false,
        }
    }
}
