//! Snapshots of local directories.

use std::path::Path;
use std::sync::Arc;

use kiln_store::{Ref, Store};

use super::identifier::LocalIdentifier;
use crate::error::SourceError;

/// How far a transfer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransferProgress {
    /// Bytes of content copied.
    pub bytes: u64,
    /// Files, directories and others done.
    pub files: u64,
}

/// Told how far a transfer has come, from any thread and often.
pub type LocalProgress = Arc<dyn Fn(TransferProgress) + Send + Sync>;

/// Gives directories of this machine. Cheap to clone.
#[derive(Clone)]
pub struct LocalSource {
    store: Store,
}

impl LocalSource {
    /// Snapshots are kept in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// A snapshot of `directory` as the identifier filters it.
    ///
    /// `shared_key` names the client's side of the transfer. A snapshot made before under
    /// the same key is what this one is compared to: if nothing changed, it is returned
    /// itself; otherwise unchanged files are hard links into it. Owners are root in the
    /// snapshot.
    pub async fn snapshot(
        &self,
        identifier: &LocalIdentifier,
        directory: &Path,
        shared_key: &str,
        progress: LocalProgress,
    ) -> Result<Ref, SourceError> {
        let _ = (&self.store, identifier, directory, shared_key, progress);
        Err(SourceError::Internal("not built yet".to_owned()))
    }
}
