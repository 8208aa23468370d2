//! Questions to the caches, and what is learnt from the answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::edge::{Content, Edge};
use super::index::Way;
use super::{Action, Core, EdgeId, Purpose, Query};
use crate::digest::root_key;
use crate::key::{Key, KeyUse, Origin, Record, Source, TracedKey};

/// Which keys were looked up.
#[derive(Debug)]
pub(super) enum Lookup {
    /// The op itself, which has no inputs.
    Root,
    /// Keys of this input.
    Input(usize),
    /// The content of this input.
    Content(usize, TracedKey),
}

impl<T: Clone, E: std::error::Error + 'static> Core<T, E> {
    /// Asks where keys lead to.
    pub(super) fn look_up(&mut self, id: EdgeId, edge: &mut Edge<T, E>, lookup: Lookup) {
        let Some(map) = &edge.map else { return };
        let Ok(output) = i64::try_from(edge.output) else {
            return;
        };
        let (input, keys, equal) = match &lookup {
            Lookup::Root => (0, Vec::new(), Vec::new()),
            Lookup::Input(input) => {
                let selector = edge.selector(*input);
                let dep = &edge.deps[*input];
                let new = dep.keys.iter().rev().take(dep.fresh).rev();
                (
                    *input,
                    new.map(|key| key.used(selector)).collect(),
                    Vec::new(),
                )
            }
            Lookup::Content(input, key) => {
                (*input, vec![key.used(None)], definition_keys(edge, *input))
            }
        };
        let digest = root_key(&map.digest, output);
        edge.lookups += 1;
        let task = self.task(Purpose::Query(id, lookup));
        let query = Query {
            keys,
            equal,
            input,
            digest,
        };
        self.actions.push(Action::Query {
            task,
            vertex: edge.vertex,
            query,
        });
    }

    /// Keys were found to lead to the edge.
    pub(super) fn matched(&mut self, id: EdgeId, lookup: Lookup, keys: Vec<Arc<Key>>) {
        let Some(mut edge) = self.edges.take(id) else {
            return;
        };
        edge.lookups -= 1;
        let ignores = self
            .vertices
            .get(edge.vertex)
            .is_none_or(|state| state.options.ignore_cache);
        let keys = if ignores || edge.ended() {
            Vec::new()
        } else {
            keys
        };
        match lookup {
            Lookup::Root => keys
                .iter()
                .for_each(|key| self.join_key(id, &mut edge, key, vec![])),
            Lookup::Input(input) => take_matches(&mut edge.deps[input].matches, keys),
            Lookup::Content(input, key) => {
                let dep = &mut edge.deps[input];
                take_matches(&mut dep.matches, keys);
                let digest = key.key.digest.clone();
                dep.content = Content::Probed(Some(key));
                edge.learn(Some((input, Way::Content(digest))));
            }
        }
        self.edges.put_back(id, edge);
        self.touch(id);
    }

    /// Takes up the keys that all inputs lead to.
    pub(super) fn join(&mut self, id: EdgeId, edge: &mut Edge<T, E>) {
        let Some((first, others)) = edge.deps.split_first() else {
            return;
        };
        let agreed: Vec<Arc<Key>> = first
            .matches
            .iter()
            .filter(|(key, _)| {
                !edge.joined.contains(*key)
                    && others.iter().all(|dep| dep.matches.contains_key(*key))
            })
            .map(|(_, key)| key.clone())
            .collect();
        for key in agreed {
            let inputs = (0..edge.deps.len())
                .map(|input| edge.input_keys(input))
                .collect();
            self.join_key(id, edge, &key, inputs);
        }
    }

    fn join_key(
        &mut self,
        id: EdgeId,
        edge: &mut Edge<T, E>,
        key: &Arc<Key>,
        inputs: Vec<Vec<KeyUse>>,
    ) {
        let mut joined = key.with_inputs(inputs);
        joined.origin = self.origin(edge);
        let name = joined.ids().values().next().cloned().unwrap_or_default();
        if !edge.joined.insert(name) {
            return;
        }
        let key = Arc::new(joined);
        edge.lookups += 1;
        let task = self.task(Purpose::Records(id, key.clone()));
        self.actions.push(Action::Records {
            task,
            vertex: edge.vertex,
            key,
        });
    }

    /// Caches told which results a key has.
    pub(super) fn found(&mut self, id: EdgeId, key: &Arc<Key>, records: Vec<Record>) {
        let Some(edge) = self.edges.get_mut(id) else {
            return;
        };
        edge.lookups -= 1;
        if !edge.ended() {
            let export = self
                .vertices
                .get(edge.vertex)
                .and_then(|state| state.options.export_cache)
                .unwrap_or(true);
            for record in &records {
                let name = (record.cache.clone(), record.id.clone());
                let known = edge
                    .candidates
                    .iter()
                    .any(|other| (&other.cache, &other.id) == (&record.cache, &record.id));
                if !known && !edge.tried.contains(&name) {
                    edge.candidates.push(record.clone());
                }
            }
            let source = Arc::new(Source::Found { records, export });
            edge.keys.push(TracedKey {
                key: key.clone(),
                source,
            });
        }
        self.touch(id);
    }

    pub(super) fn origin(&self, edge: &Edge<T, E>) -> Option<Origin> {
        let vertex = self.vertices.get(edge.vertex)?.info.digest.clone();
        Some(Origin {
            vertex,
            output: edge.output,
        })
    }
}

/// The keys under which an input's result is known without its content.
fn definition_keys<T, E: std::error::Error + 'static>(
    edge: &Edge<T, E>,
    input: usize,
) -> Vec<KeyUse> {
    let keys = edge.deps[input].output.iter().flat_map(|(_, keys)| keys);
    keys.map(|key| key.used(edge.selector(input))).collect()
}

/// Adds matches; a key known from several caches is one.
fn take_matches(matches: &mut BTreeMap<String, Arc<Key>>, keys: Vec<Arc<Key>>) {
    for key in keys {
        let Some(name) = key.ids().values().next().cloned() else {
            continue;
        };
        matches.entry(name).or_insert(key);
    }
}
