//! Content checksums of refs, each computed once and kept with its ref.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use kiln_store::checksum::{self, Changes, ChecksumOptions, Checksums, RootHeader, SummedTree};
use kiln_store::{RecordType, Ref, Store};
use oci_spec::image::Digest;

use crate::error::{BuildError, Kind};
use crate::tree;

/// Name of the value that keeps a ref's checksums.
const VALUE: &str = "checksums";

/// One path whose content is part of a cache key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) path: String,
    pub(crate) options: ChecksumOptions,
}

/// Makes sure that two steps which look at one ref at the same time do not
/// hash it twice.
#[derive(Default)]
pub(crate) struct ChecksumCache {
    open: Mutex<HashMap<String, Weak<Mutex<Option<Checksums>>>>>,
}

impl ChecksumCache {
    fn entry(&self, id: &str) -> Arc<Mutex<Option<Checksums>>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = open.get(id).and_then(Weak::upgrade) {
            return entry;
        }
        open.retain(|_, entry| entry.strong_count() > 0);
        let entry = Arc::new(Mutex::new(None));
        open.insert(id.to_owned(), Arc::downgrade(&entry));
        entry
    }

    /// Checksums of all `selectors` in a ref, in their order. The ref must be
    /// materialized unless everything is known already. Blocks.
    pub(crate) fn checksums(
        &self,
        store: &Store,
        reference: &Ref,
        selectors: &[Selector],
    ) -> Result<Vec<Digest>, BuildError> {
        let entry = self.entry(reference.id());
        let mut slot = entry.lock().unwrap_or_else(PoisonError::into_inner);
        let checksums = match slot.take() {
            Some(checksums) => slot.insert(checksums),
            None => slot.insert(load(reference)?),
        };
        if let Some(known) = known(checksums, selectors) {
            return Ok(known);
        }
        let tree = tree::open(store, Some(reference))?;
        let mut digests = Vec::with_capacity(selectors.len());
        for selector in selectors {
            let digest = checksums.checksum(&tree.root, &selector.path, &selector.options);
            digests.push(digest.map_err(|error| {
                BuildError::wrap(Kind::Input, error).context(format!(
                    "failed to calculate checksum of ref {}",
                    reference.id()
                ))
            })?);
        }
        if checksums.is_dirty() {
            reference
                .set_value(VALUE, &checksums.to_bytes())
                .map_err(tree::store_error)?;
        }
        Ok(digests)
    }

    /// The same, if no file needs to be read for it.
    pub(crate) fn known(
        &self,
        reference: &Ref,
        selectors: &[Selector],
    ) -> Result<Option<Vec<Digest>>, BuildError> {
        let entry = self.entry(reference.id());
        let mut slot = entry.lock().unwrap_or_else(PoisonError::into_inner);
        let checksums = match slot.take() {
            Some(checksums) => slot.insert(checksums),
            None => slot.insert(load(reference)?),
        };
        Ok(known(checksums, selectors))
    }
}

/// A tree that is here with all its files: nothing is fetched or unpacked for it, and it does not count as used. Blocks.
pub(crate) fn present(store: &Store, id: &str) -> Result<Option<Ref>, BuildError> {
    let Some(reference) = store.look_at(id).map_err(tree::store_error)? else {
        return Ok(None);
    };
    let is_lazy = reference.is_lazy().map_err(tree::store_error)?;
    Ok((!is_lazy).then_some(reference))
}

/// What differs between two trees in what `selectors` name; at most `limit` paths are named. Blocks.
pub(crate) fn changes(
    store: &Store,
    (before, now): (&Ref, &Ref),
    selectors: &[Selector],
    limit: usize,
) -> Result<Changes, BuildError> {
    let whole = [Selector {
        path: "/".into(),
        options: ChecksumOptions::default(),
    }];
    let selectors = match selectors {
        [] => &whole,
        selectors => selectors,
    };
    let (mut old, mut new) = (load(before)?, load(now)?);
    let (old_tree, new_tree) = (
        tree::open(store, Some(before))?,
        tree::open(store, Some(now))?,
    );
    let mut all = Changes::default();
    for selector in selectors {
        let before = SummedTree {
            sums: &mut old,
            root: &old_tree.root,
        };
        let now = SummedTree {
            sums: &mut new,
            root: &new_tree.root,
        };
        let found = checksum::changes(before, now, (&selector.path, &selector.options), limit);
        let found = found.map_err(|error| BuildError::wrap(Kind::Input, error))?;
        all.count += found.count;
        let room = limit.saturating_sub(all.first.len());
        all.first.extend(found.first.into_iter().take(room));
    }
    Ok(all)
}

fn known(checksums: &Checksums, selectors: &[Selector]) -> Option<Vec<Digest>> {
    selectors
        .iter()
        .map(|selector| checksums.known(&selector.path, &selector.options))
        .collect()
}

/// Damaged or outdated checksums are computed anew.
fn load(reference: &Ref) -> Result<Checksums, BuildError> {
    let kept = reference.value(VALUE).map_err(tree::store_error)?;
    let kept = kept.and_then(|bytes| Checksums::from_bytes(&bytes).ok());
    Ok(kept.unwrap_or_else(|| Checksums::new(root_header(reference))))
}

fn root_header(reference: &Ref) -> RootHeader {
    match reference.record_type() {
        RecordType::SourceLocal => RootHeader::Ignored,
        _ => RootHeader::Counted,
    }
}
