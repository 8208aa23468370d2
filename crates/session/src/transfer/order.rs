//! The rules that a list of files must keep to.

use std::cmp::Ordering;
use std::sync::Arc;

use kiln_store::walk::walk_order;

use super::entry::{EntryKind, TreeEntry};
use super::error::TransferError;

/// The most entries that one tree may have.
const MAX_ENTRIES: usize = 10_000_000;

/// The entries that have come so far: in the order of a walk, each in a directory that came
/// before it, links to files that did.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    entries: Vec<Arc<TreeEntry>>,
    /// The directories that the last entry is in or is, outermost first.
    open: Vec<Arc<TreeEntry>>,
}

impl Ordered {
    pub(super) fn entries(&self) -> &[Arc<TreeEntry>] {
        &self.entries
    }

    pub(super) fn into_entries(self) -> Vec<Arc<TreeEntry>> {
        self.entries
    }

    /// Takes the next entry, if it may be that.
    pub(super) fn push(&mut self, entry: TreeEntry) -> Result<Arc<TreeEntry>, TransferError> {
        let refused = |reason| Err(TransferError::path(&entry.path, reason));
        if self.entries.len() >= MAX_ENTRIES {
            return refused("there are too many files");
        }
        if let Some(last) = self.entries.last() {
            match walk_order(&last.path, &entry.path) {
                Ordering::Less => {}
                Ordering::Equal => return refused("it was sent before"),
                Ordering::Greater => return refused("it is out of order"),
            }
        }
        let (directory, _) = entry.split();
        let leads_there = |open: &Arc<TreeEntry>| {
            directory
                .strip_prefix(open.path.as_slice())
                .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        while self.open.last().is_some_and(|open| !leads_there(open)) {
            self.open.pop();
        }
        let parent = self.open.last().map_or(&[][..], |open| &open.path);
        if parent != directory {
            return refused("the directory it is in was not sent");
        }
        if let EntryKind::Link(target) = &entry.kind {
            self.check_link(&entry, target)?;
        }
        let entry = Arc::new(entry);
        if entry.kind == EntryKind::Directory {
            self.open.push(Arc::clone(&entry));
        }
        self.entries.push(Arc::clone(&entry));
        Ok(entry)
    }

    fn check_link(&self, entry: &TreeEntry, target: &[u8]) -> Result<(), TransferError> {
        let found = self
            .entries
            .binary_search_by(|known| walk_order(&known.path, target));
        match found.map(|at| &self.entries[at].kind) {
            Ok(EntryKind::File) => Ok(()),
            _ => Err(TransferError::path(
                &entry.path,
                "it is a link to a file that was not sent before",
            )),
        }
    }
}
