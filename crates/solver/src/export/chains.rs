//! Builds the records of a cache manifest. What leads to the same place by
//! any of its ways becomes one record.

use std::collections::{BTreeMap, BTreeSet};

use oci_spec::image::Digest;

use super::{ExportLink, ExportRecord, ExportResult};
use crate::digest::is_random;

/// A record in the making.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ItemId(usize);

/// How an item is used: selector, input number and digest of the user.
type Use = (String, usize, String);

#[derive(Debug)]
struct Item<R> {
    digest: Digest,
    users: BTreeMap<Use, BTreeSet<ItemId>>,
    inputs: Vec<BTreeSet<(ItemId, String)>>,
    results: Vec<ExportResult<R>>,
    /// Set when another item took its place.
    replaced: Option<ItemId>,
}

/// Records in the making.
#[derive(Debug)]
pub(super) struct Chains<R> {
    items: Vec<Item<R>>,
    roots: BTreeMap<String, ItemId>,
}

impl<R> Default for Chains<R> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            roots: BTreeMap::new(),
        }
    }
}

impl<R: Clone + PartialEq> Chains<R> {
    /// Adds a way to a record; every input has at least one link. Digests made
    /// up for one session mean nothing to others, and give no item.
    pub(super) fn add(
        &mut self,
        digest: &Digest,
        inputs: Vec<Vec<(ItemId, String)>>,
        results: Vec<ExportResult<R>>,
    ) -> Option<ItemId> {
        if is_random(digest) {
            return None;
        }
        if inputs.is_empty() {
            let known = self.roots.get(digest.as_ref()).copied();
            let item = known.unwrap_or_else(|| self.new_item(digest));
            self.roots.insert(digest.to_string(), item);
            self.add_results(item, results);
            return Some(item);
        }
        let inputs: Vec<Vec<(ItemId, String)>> = inputs
            .into_iter()
            .map(|links| {
                links
                    .into_iter()
                    .map(|(item, sel)| (self.current(item), sel))
                    .collect()
            })
            .collect();
        let mut same = self.same(digest, &inputs).into_iter();
        let item = match same.next() {
            Some(item) => item,
            None => self.new_item(digest),
        };
        for other in same {
            self.replace(other, item);
        }
        self.add_results(item, results);
        let above = self.above(item);
        for (input, links) in inputs.into_iter().enumerate() {
            for (from, selector) in links {
                // A link from what builds on this item would be a loop.
                if !above.contains(&from) {
                    self.link(from, selector, input, item);
                }
            }
        }
        Some(item)
    }

    fn new_item(&mut self, digest: &Digest) -> ItemId {
        self.items.push(Item {
            digest: digest.clone(),
            users: BTreeMap::new(),
            inputs: Vec::new(),
            results: Vec::new(),
            replaced: None,
        });
        ItemId(self.items.len() - 1)
    }

    fn current(&self, mut item: ItemId) -> ItemId {
        while let Some(other) = self.items[item.0].replaced {
            item = other;
        }
        item
    }

    /// The items to which, for every input, one of the links leads already.
    fn same(&self, digest: &Digest, inputs: &[Vec<(ItemId, String)>]) -> BTreeSet<ItemId> {
        let mut same: Option<BTreeSet<ItemId>> = None;
        for (input, links) in inputs.iter().enumerate() {
            let mut found = BTreeSet::new();
            for (from, selector) in links {
                let name = (selector.clone(), input, digest.to_string());
                found.extend(
                    self.items[from.0]
                        .users
                        .get(&name)
                        .into_iter()
                        .flatten()
                        .copied(),
                );
            }
            if let Some(before) = same {
                found.retain(|item| before.contains(item));
            }
            same = Some(found);
        }
        same.unwrap_or_default()
    }

    fn link(&mut self, from: ItemId, selector: String, input: usize, to: ItemId) {
        let digest = self.items[to.0].digest.to_string();
        let name = (selector.clone(), input, digest);
        self.items[from.0].users.entry(name).or_default().insert(to);
        let inputs = &mut self.items[to.0].inputs;
        if inputs.len() <= input {
            inputs.resize(input + 1, BTreeSet::new());
        }
        inputs[input].insert((from, selector));
    }

    /// Two items turned out to be one.
    fn replace(&mut self, old: ItemId, new: ItemId) {
        let users = std::mem::take(&mut self.items[old.0].users);
        let inputs = std::mem::take(&mut self.items[old.0].inputs);
        let results = std::mem::take(&mut self.items[old.0].results);
        self.items[old.0].replaced = Some(new);
        for (input, links) in inputs.into_iter().enumerate() {
            for (from, selector) in links {
                for used in self.items[from.0].users.values_mut() {
                    used.remove(&old);
                }
                self.link(from, selector, input, new);
            }
        }
        for ((selector, input, _), items) in users {
            for user in items {
                if let Some(links) = self.items[user.0].inputs.get_mut(input) {
                    links.remove(&(old, selector.clone()));
                }
                self.link(new, selector.clone(), input, user);
            }
        }
        self.add_results(new, results);
    }

    fn add_results(&mut self, item: ItemId, results: Vec<ExportResult<R>>) {
        let known = &mut self.items[item.0].results;
        for result in results {
            let same = known
                .iter()
                .any(|other| other.created == result.created && other.remote == result.remote);
            if !same {
                known.push(result);
            }
        }
    }

    /// The item and all that builds on it.
    fn above(&self, item: ItemId) -> BTreeSet<ItemId> {
        let mut seen = BTreeSet::from([item]);
        let mut open = vec![item];
        while let Some(item) = open.pop() {
            for user in self.items[item.0].users.values().flatten() {
                if seen.insert(*user) {
                    open.push(*user);
                }
            }
        }
        seen
    }

    /// The finished records, inputs before users.
    pub(super) fn records(self) -> Vec<ExportRecord<R>> {
        let mut placed: Vec<Option<usize>> = vec![None; self.items.len()];
        let mut order = Vec::new();
        for start in (0..self.items.len()).filter(|i| self.items[*i].replaced.is_none()) {
            let mut open = vec![(start, false)];
            while let Some((index, inputs_done)) = open.pop() {
                if placed[index].is_some() {
                    continue;
                }
                if inputs_done {
                    placed[index] = Some(order.len());
                    order.push(index);
                } else {
                    open.push((index, true));
                    let inputs = self.items[index].inputs.iter().flatten();
                    open.extend(inputs.map(|(from, _)| (from.0, false)));
                }
            }
        }
        let mut items: Vec<Option<Item<R>>> = self.items.into_iter().map(Some).collect();
        let take = |index: usize| items[index].take();
        order
            .into_iter()
            .filter_map(take)
            .map(|item| finished(item, &placed))
            .collect()
    }
}

fn finished<R>(item: Item<R>, placed: &[Option<usize>]) -> ExportRecord<R> {
    let link = |(from, selector): (ItemId, String)| {
        Some(ExportLink {
            record: placed[from.0]?,
            selector,
        })
    };
    let inputs = item
        .inputs
        .into_iter()
        .map(|links| links.into_iter().filter_map(link).collect());
    let mut results = item.results;
    results.sort_by_key(|result| std::cmp::Reverse(result.created));
    ExportRecord {
        digest: item.digest,
        inputs: inputs.collect(),
        results,
    }
}
