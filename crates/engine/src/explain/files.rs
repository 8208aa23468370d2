//! Which files of two stored trees differ.

use std::sync::Arc;

use kiln_store::checksum::{Change, PathChange};

use super::book::Looks;
use super::cause::{FileChange, FileChanges};
use super::compare::{FileComparison, TreePair};
use crate::checksums::{self, Selector};
use crate::error::BuildError;
use crate::worker::Worker;

/// Paths that are named.
const NAMED: usize = 3;

/// Compares trees in the store, as far as they are still there. Nothing is fetched for it.
pub(super) struct StoredTrees {
    worker: Arc<Worker>,
    looks: Looks,
}

impl StoredTrees {
    pub(super) fn new(worker: Arc<Worker>, looks: Looks) -> Self {
        Self { worker, looks }
    }

    fn compare(
        &self,
        trees: &TreePair,
        selectors: &[Selector],
    ) -> Result<Option<FileChanges>, BuildError> {
        let store = &self.worker.store;
        let find = |id: &Option<String>| match id {
            Some(id) => checksums::present(store, id),
            None => Ok(None),
        };
        let (Some(before), Some(now)) = (find(&trees.before)?, find(&trees.now)?) else {
            return Ok(None);
        };
        let found = checksums::changes(store, (&before, &now), selectors, NAMED)?;
        // Equal trees were not what made the digests differ.
        Ok((found.count > 0).then(|| FileChanges::Yes {
            others: found.count - found.first.len(),
            first: found.first.into_iter().map(change).collect(),
        }))
    }
}

impl FileComparison for StoredTrees {
    fn changes(&self, trees: &TreePair) -> FileChanges {
        let selectors = self.looks.get(&(trees.step, trees.input));
        let selectors = selectors.map_or(&[][..], Vec::as_slice);
        let changes = self.compare(trees, selectors).unwrap_or_else(|error| {
            tracing::debug!(%error, "trees cannot be compared");
            None
        });
        changes.unwrap_or_else(|| FileChanges::No {
            paths: selectors
                .iter()
                .take(NAMED)
                .map(|it| it.path.clone())
                .collect(),
        })
    }
}

fn change(change: PathChange) -> FileChange {
    let what = change.what.into_iter().map(|what| match what {
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Kind => "type",
        Change::Content => "content",
        Change::Target => "link target",
        Change::Mode => "mode",
        Change::Owner => "owner",
        Change::Attributes => "attributes",
    });
    FileChange {
        path: change.path,
        what: what.map(str::to_owned).collect(),
    }
}
