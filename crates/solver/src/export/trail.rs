//! Follows the keys of a result back to their roots.

use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::{Arc, PoisonError};

use oci_spec::image::Digest;

use super::chains::{Chains, ItemId};
use super::{ExportResult, Picked};
use crate::cache::{Cache, CacheError};
use crate::key::{Key, KeyUse, Source, TracedKey};

/// A key with one source on the way.
#[derive(Debug)]
pub(super) struct Node {
    pub key: Arc<Key>,
    pub source: Arc<Source>,
    /// By input: selectors and nodes.
    pub inputs: Vec<Vec<(Option<Digest>, usize)>>,
}

/// Everything that a result's keys build on.
#[derive(Debug, Default)]
pub(super) struct Trail {
    pub nodes: Vec<Node>,
    /// The nodes of the result itself.
    pub top: Vec<usize>,
}

/// By input: items and selectors.
type Ways = Vec<Vec<(ItemId, String)>>;

type NodeName = (*const Key, *const Source);

impl Trail {
    pub(super) fn of(key: &TracedKey) -> Self {
        let mut trail = Self::default();
        let mut known = HashMap::new();
        trail.top = trail.place(key, &mut known);
        let mut next = 0;
        while next < trail.nodes.len() {
            let inputs = input_keys(&trail.nodes[next]);
            let mut placed = Vec::with_capacity(inputs.len());
            for uses in inputs {
                let mut links = Vec::new();
                for used in uses {
                    let nodes = trail.place(&used.key, &mut known);
                    links.extend(nodes.into_iter().map(|node| (used.selector.clone(), node)));
                }
                placed.push(links);
            }
            trail.nodes[next].inputs = placed;
            next += 1;
        }
        trail
    }

    /// Nodes of a key, made when first seen.
    fn place(&mut self, key: &TracedKey, known: &mut HashMap<NodeName, usize>) -> Vec<usize> {
        let parts = match &*key.source {
            Source::Several(parts) => parts.as_slice(),
            _ => std::slice::from_ref(key),
        };
        let mut nodes = Vec::with_capacity(parts.len());
        for part in parts {
            let name = (Arc::as_ptr(&part.key), Arc::as_ptr(&part.source));
            let node = *known.entry(name).or_insert_with(|| {
                self.nodes.push(Node {
                    key: part.key.clone(),
                    source: part.source.clone(),
                    inputs: Vec::new(),
                });
                self.nodes.len() - 1
            });
            nodes.push(node);
        }
        nodes
    }
}

/// The keys of inputs, with those that merges added.
fn input_keys(node: &Node) -> Vec<Vec<KeyUse>> {
    let mut inputs = node.key.inputs.clone();
    if let Source::Made { extra, .. } = &*node.source {
        for (input, used) in extra.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(uses) = inputs.get_mut(*input) {
                uses.push(used.clone());
            }
        }
    }
    inputs
}

/// Adds a trail to the records. `results` belong to the nodes by position.
pub(super) fn record<T, R: Clone + PartialEq>(
    trail: &Trail,
    results: &[Picked<R>],
    caches: &[Cache<T>],
    ignore_backlinks: bool,
    chains: &mut Chains<R>,
) -> Result<(), CacheError> {
    let mut recorder = Recorder {
        caches,
        chains,
        backlinks: HashMap::new(),
    };
    let mut items: Vec<Option<Vec<ItemId>>> = vec![None; trail.nodes.len()];
    let mut open: Vec<(usize, bool)> = trail.top.iter().rev().map(|node| (*node, false)).collect();
    while let Some((index, inputs_done)) = open.pop() {
        let node = &trail.nodes[index];
        if !inputs_done {
            if items[index].is_none() {
                // A key that leads back to itself adds nothing.
                items[index] = Some(Vec::new());
                open.push((index, true));
                let below = node
                    .inputs
                    .iter()
                    .flatten()
                    .rev()
                    .map(|(_, input)| (*input, false));
                open.extend(below);
            }
            continue;
        }
        if !ignore_backlinks {
            recorder.backlinks_of(node)?;
        }
        items[index] = Some(recorder.add(node, &items, results[index].as_ref())?);
    }
    Ok(())
}

struct Recorder<'a, T, R> {
    caches: &'a [Cache<T>],
    chains: &'a mut Chains<R>,
    /// Items of keys that were followed back in a cache.
    backlinks: HashMap<(String, String), Vec<ItemId>>,
}

impl<T, R: Clone + PartialEq> Recorder<'_, T, R> {
    fn add(
        &mut self,
        node: &Node,
        items: &[Option<Vec<ItemId>>],
        result: Option<&ExportResult<R>>,
    ) -> Result<Vec<ItemId>, CacheError> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for uses in &node.inputs {
            let mut links = Vec::new();
            for (selector, input) in uses {
                for item in items[*input].iter().flatten() {
                    links.push((*item, text(selector.as_ref())));
                }
            }
            // What cannot be told of one input, cannot be found by the others.
            if links.is_empty() {
                return Ok(Vec::new());
            }
            inputs.push(links);
        }
        let results: Vec<ExportResult<R>> = result.cloned().into_iter().collect();
        if inputs.is_empty() {
            self.other_names(node, &results)?;
        }
        Ok(self
            .chains
            .add(&node.key.digest, inputs, results)
            .into_iter()
            .collect())
    }

    /// A result without inputs may be known under several digests.
    fn other_names(&mut self, node: &Node, results: &[ExportResult<R>]) -> Result<(), CacheError> {
        let Source::Made {
            record: Some(record),
            ..
        } = &*node.source
        else {
            return Ok(());
        };
        let Some(cache) = self.caches.iter().find(|cache| *cache.id == *record.cache) else {
            return Ok(());
        };
        let own = record.key.ids().get(&record.cache).cloned();
        for id in cache.keys.keys_of_result(&record.id)? {
            if Some(&id) == own.as_ref() || !cache.keys.backlinks(&id)?.is_empty() {
                continue;
            }
            if let Ok(digest) = Digest::try_from(id) {
                self.chains.add(&digest, Vec::new(), results.to_vec());
            }
        }
        Ok(())
    }

    /// Adds the ways to a key that caches know from other builds.
    fn backlinks_of(&mut self, node: &Node) -> Result<(), CacheError> {
        let ids = node.key.ids().clone();
        for (cache, id) in ids {
            if let Some(cache) = self.caches.iter().find(|other| *other.id == *cache) {
                self.follow_back(cache, id)?;
            }
        }
        Ok(())
    }

    fn follow_back(&mut self, cache: &Cache<T>, id: String) -> Result<(), CacheError> {
        let mut links = HashMap::new();
        let mut open = vec![(id, false)];
        while let Some((id, inputs_done)) = open.pop() {
            let name = (cache.id.clone(), id.clone());
            if !inputs_done {
                if let Entry::Vacant(vacant) = self.backlinks.entry(name) {
                    vacant.insert(Vec::new());
                    let from = cache.keys.backlinks(&id)?;
                    open.push((id.clone(), true));
                    open.extend(from.iter().map(|(from, _)| (from.clone(), false)));
                    links.insert(id, from);
                }
                continue;
            }
            let from = links.remove(&id).unwrap_or_default();
            let items = self.add_known(cache, &id, &from);
            self.backlinks.insert(name, items);
        }
        Ok(())
    }

    fn add_known(
        &mut self,
        cache: &Cache<T>,
        id: &str,
        from: &[(String, crate::cache::Link)],
    ) -> Vec<ItemId> {
        if from.is_empty() {
            let root = Digest::try_from(id).ok();
            return root
                .and_then(|root| self.chains.add(&root, vec![], vec![]))
                .into_iter()
                .collect();
        }
        let mut ways: BTreeMap<String, (Digest, Ways)> = BTreeMap::new();
        for (from, link) in from {
            let (_, inputs) = ways
                .entry(link.digest.to_string())
                .or_insert_with(|| (link.digest.clone(), Vec::new()));
            if inputs.len() <= link.input {
                inputs.resize(link.input + 1, Vec::new());
            }
            let items = self.backlinks.get(&(cache.id.clone(), from.clone()));
            let items = items.into_iter().flatten();
            inputs[link.input].extend(items.map(|item| (*item, text(link.selector.as_ref()))));
        }
        let complete = ways
            .into_values()
            .filter(|(_, inputs)| inputs.iter().all(|i| !i.is_empty()));
        complete
            .filter_map(|(digest, inputs)| self.chains.add(&digest, inputs, vec![]))
            .collect()
    }
}

fn text(selector: Option<&Digest>) -> String {
    selector.map(ToString::to_string).unwrap_or_default()
}
