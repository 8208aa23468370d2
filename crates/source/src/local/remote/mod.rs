//! Snapshots of what a client elsewhere sends.
//!
//! The list of files is compared with that of the snapshot before while it comes, and what is
//! new is asked for at once. If nothing is, the snapshot before is the result and nothing is
//! written. Otherwise the rest is taken from there once everything else has come.

mod before;
mod complete;
mod file;
mod metadata;
mod sink;
mod target;

use std::sync::Arc;

use kiln_session::transfer::{DirectoryRequest, RemoteDirectory, TransferError, receive};
use kiln_store::{Ref, Store};

use super::identifier::LocalIdentifier;
use super::source::LocalProgress;
use crate::error::SourceError;
use sink::SnapshotSink;

/// How often a transfer is begun in which a file changes on its way.
const ATTEMPTS: usize = 3;

/// What one snapshot is made of and for.
pub(super) struct Terms<'a> {
    pub(super) store: &'a Store,
    pub(super) identifier: &'a LocalIdentifier,
    /// Under which the snapshot is found again.
    pub(super) shared_key: &'a str,
    pub(super) progress: &'a LocalProgress,
}

/// A snapshot of a directory as the identifier filters it.
pub(super) async fn snapshot(
    terms: &Terms<'_>,
    directory: &dyn RemoteDirectory,
) -> Result<Ref, SourceError> {
    let request = DirectoryRequest {
        include: terms.identifier.include.clone(),
        exclude: terms.identifier.exclude.clone(),
        follow: terms.identifier.follow.clone(),
    };
    let mut attempt = 1;
    loop {
        let sink = sink(terms).await?;
        let link = directory
            .open(&request)
            .await
            .map_err(TransferError::Call)?;
        match receive(link, sink).await {
            Err(SourceError::Transfer(TransferError::Torn { .. })) if attempt < ATTEMPTS => {
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

async fn sink(terms: &Terms<'_>) -> Result<SnapshotSink, SourceError> {
    let (store, identifier) = (terms.store.clone(), terms.identifier.clone());
    let (shared_key, progress) = (terms.shared_key.to_owned(), Arc::clone(terms.progress));
    let made = tokio::task::spawn_blocking(move || {
        SnapshotSink::new(store, &identifier, &shared_key, progress)
    });
    made.await
        .map_err(|error| SourceError::Internal(error.to_string()))?
}
