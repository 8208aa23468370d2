//! The snapshot before, and what was said of its files.

use std::cmp::Ordering;
use std::path::PathBuf;
use std::sync::Arc;

use kiln_session::transfer::TreeEntry;
use kiln_store::walk::walk_order;
use kiln_store::{Ref, Store};

use crate::attribute::{go_json, sha256};
use crate::error::SourceError;
use crate::local::identifier::{Differ, LocalIdentifier};
use crate::local::index::Trust;

/// Name of the value kept with a snapshot: the list of its files.
const LIST: &str = "local.list";
const VERSION: u8 = 1;

/// Where the next snapshot will look for this one.
pub(super) struct Keys([String; 2]);

/// A snapshot made before.
pub(super) struct Before {
    pub(super) snapshot: Ref,
    pub(super) tree: PathBuf,
    pub(super) list: Vec<Listed>,
    /// It was made with the same filter, so that it may be the result itself.
    pub(super) same_filter: bool,
    /// How far the list has been compared.
    next: usize,
}

/// One file of a list.
pub(super) struct Listed {
    pub(super) entry: Arc<TreeEntry>,
    /// Whether what is said of the file can be taken for what it is.
    pub(super) trust: Trust,
}

impl Keys {
    pub(super) fn new(identifier: &LocalIdentifier, shared_key: &str) -> Result<Self, SourceError> {
        let lists = (&identifier.include, &identifier.exclude, &identifier.follow);
        let filter = match identifier.metadata_only {
            true => go_json(&(lists, &identifier.metadata_exceptions))?,
            false => go_json(&lists)?,
        };
        let filter = sha256(filter.as_bytes());
        let kind = match identifier.metadata_only {
            true => "remote-metadata",
            false => "remote",
        };
        Ok(Self([
            format!("{kind}:{shared_key}:{filter}"),
            format!("{kind}:{shared_key}"),
        ]))
    }

    /// The last snapshot with this very filter, or with any.
    pub(super) fn find(
        &self,
        store: &Store,
        identifier: &LocalIdentifier,
    ) -> Result<Option<Before>, SourceError> {
        if identifier.differ == Differ::None {
            return Ok(None);
        }
        for (key, same_filter) in self.0.iter().zip([true, false]) {
            // With another filter, others have come with their content.
            if identifier.metadata_only && !same_filter {
                continue;
            }
            let Some(snapshot) = store.ref_by_key(key)? else {
                continue;
            };
            let (Some(tree), Some(list)) = (snapshot.local_dir()?, snapshot.value(LIST)?) else {
                continue;
            };
            if let Some(list) = read_list(&list) {
                return Ok(Some(Before {
                    snapshot,
                    tree,
                    list,
                    same_filter,
                    next: 0,
                }));
            }
        }
        Ok(None)
    }

    /// Makes a snapshot the one to be found.
    pub(super) fn keep(
        &self,
        store: &Store,
        snapshot: &Ref,
        list: impl Iterator<Item = Listed>,
    ) -> Result<(), SourceError> {
        snapshot.set_value(LIST, &write_list(list))?;
        for key in &self.0 {
            store.set_key(key, snapshot)?;
        }
        Ok(())
    }
}

impl Before {
    /// Whether a file is as it was. Asked in the order of the list.
    pub(super) fn has(&mut self, entry: &TreeEntry) -> bool {
        while let Some(listed) = self.list.get(self.next) {
            match walk_order(&listed.entry.path, &entry.path) {
                Ordering::Less => self.next += 1,
                Ordering::Equal => {
                    return listed.trust == Trust::Stamp && *listed.entry == *entry;
                }
                Ordering::Greater => return false,
            }
        }
        false
    }

    /// What is at a path.
    pub(super) fn find(&self, path: &[u8]) -> Option<&TreeEntry> {
        let found = self
            .list
            .binary_search_by(|listed| walk_order(&listed.entry.path, path));
        found.ok().map(|at| &*self.list[at].entry)
    }
}

fn write_list(list: impl Iterator<Item = Listed>) -> Vec<u8> {
    let mut out = vec![VERSION];
    for Listed { entry, trust } in list {
        let entry = entry.to_bytes();
        out.extend_from_slice(&(entry.len() as u32).to_le_bytes());
        out.push(u8::from(trust == Trust::ReadAgain));
        out.extend_from_slice(&entry);
    }
    out
}

fn read_list(bytes: &[u8]) -> Option<Vec<Listed>> {
    let (&version, mut rest) = bytes.split_first()?;
    if version != VERSION {
        return None;
    }
    let mut list = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (&doubtful, after) = after.split_first()?;
        let (entry, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        list.push(Listed {
            entry: Arc::new(TreeEntry::from_bytes(entry)?),
            trust: match doubtful {
                0 => Trust::Stamp,
                _ => Trust::ReadAgain,
            },
        });
        rest = after;
    }
    Some(list)
}
