//! How an edge gets its result: from a cache, or by running its vertex.

use std::sync::{Arc, PoisonError};

use super::edge::{Edge, EdgeState, Reach};
use super::vertex::{Call, Slot};
use super::{Action, Core, EdgeId, Purpose};
use crate::digest::root_key;
use crate::error::SolveError;
use crate::key::{Key, Record, Source, TracedKey};

impl<T: Clone, E: std::error::Error + 'static> Core<T, E> {
    /// Takes the result from a cache.
    pub(super) fn load(&mut self, id: EdgeId, edge: &mut Edge<T, E>, record: Record) {
        self.release(id, edge);
        let task = self.task(Purpose::Load(id));
        self.actions.push(Action::Load {
            task,
            vertex: edge.vertex,
            record: record.clone(),
        });
        edge.state = EdgeState::Loading { task, record };
    }

    /// A record was loaded, or turned out to be lost.
    pub(super) fn loaded(&mut self, id: EdgeId, output: Option<T>) {
        let Some(edge) = self.edges.get_mut(id) else {
            return;
        };
        let EdgeState::Loading { record, .. } = &edge.state else {
            return;
        };
        let record = record.clone();
        edge.state = EdgeState::Probing;
        match output {
            Some(output) => {
                let extra = edge.extra.clone();
                let source = Arc::new(Source::Made {
                    record: Some(record.clone()),
                    extra,
                });
                finish(
                    edge,
                    output,
                    vec![TracedKey {
                        key: record.key,
                        source,
                    }],
                );
            }
            None => {
                edge.candidates
                    .retain(|other| (&other.cache, &other.id) != (&record.cache, &record.id));
                edge.tried.insert((record.cache, record.id));
            }
        }
        self.touch(id);
    }

    /// Waits for the execution of the vertex, then saves what it made.
    pub(super) fn execute(&mut self, id: EdgeId, edge: &mut Edge<T, E>) {
        edge.state = EdgeState::Executing;
        let Some(vertex) = self.vertices.get(edge.vertex) else {
            return;
        };
        if let Some(fault) = vertex.fault.clone() {
            return self.fail(id, edge, fault);
        }
        let Slot::Done(outputs) = &vertex.execution else {
            let vertex = edge.vertex;
            let outputs = edge
                .deps
                .iter()
                .filter_map(|dep| Some(dep.output.as_ref()?.0.clone()));
            let inputs: Vec<T> = outputs.collect();
            self.want(vertex, Call::Execute, id, |task| Action::Execute {
                task,
                vertex,
                inputs,
            });
            return;
        };
        let Some(output) = outputs.get(edge.output).cloned() else {
            let fault = SolveError::NoSuchOutput {
                vertex: vertex.info.definition.clone(),
                name: vertex.info.name.clone(),
                output: edge.output,
                count: outputs.len(),
            };
            return self.fail(id, edge, fault);
        };
        let keys = self.keys_to_save(edge);
        self.release(id, edge);
        let task = self.task(Purpose::Commit(id));
        let (vertex, saved) = (edge.vertex, output.clone());
        self.actions.push(Action::Commit {
            task,
            vertex,
            keys: keys.clone(),
            output: saved,
        });
        edge.state = EdgeState::Committing { output, keys };
    }

    /// The keys of a result that was made here.
    fn keys_to_save(&self, edge: &Edge<T, E>) -> Vec<Arc<Key>> {
        let mut inputs: Vec<_> = (0..edge.deps.len())
            .map(|index| edge.input_keys(index))
            .collect();
        let mut extra = edge.extra.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, used) in extra.drain(..) {
            if let Some(uses) = inputs.get_mut(index) {
                uses.push(used);
            }
        }
        let output = i64::try_from(edge.output).unwrap_or_default();
        // With inputs there is one map; without, each map names the result.
        let digests = if inputs.is_empty() {
            &edge.digests[..]
        } else {
            &edge.digests[..1]
        };
        digests
            .iter()
            .map(|digest| {
                let key = Key::new(root_key(digest, output), inputs.clone(), self.origin(edge));
                Arc::new(key)
            })
            .collect()
    }

    /// A result was saved, or not: that costs a later build time, no more.
    pub(super) fn committed(&mut self, id: EdgeId, records: Vec<Option<Record>>) {
        let Some(edge) = self.edges.get_mut(id) else {
            return;
        };
        let EdgeState::Committing { output, keys } = &edge.state else {
            return;
        };
        let (output, keys) = (output.clone(), keys.clone());
        let records = records.into_iter().chain(std::iter::repeat(None));
        let mut made: Vec<TracedKey> = keys
            .into_iter()
            .zip(records)
            .map(|(key, record)| {
                let source = Source::Made {
                    record,
                    extra: edge.extra.clone(),
                };
                TracedKey {
                    key,
                    source: Arc::new(source),
                }
            })
            .collect();
        if made.len() > 1 {
            let all = Arc::new(Source::Several(made.clone()));
            made.iter_mut().for_each(|key| key.source = all.clone());
        }
        // What builds on a vertex that had to run must not match by its keys alone.
        let ignores = self
            .vertices
            .get(edge.vertex)
            .is_none_or(|state| state.options.ignore_cache);
        if !ignores {
            edge.keys.extend(made.iter().cloned());
        }
        finish(edge, output, made);
        self.touch(id);
    }
}

/// Turns an edge into its result.
fn finish<T, E: std::error::Error + 'static>(
    edge: &mut Edge<T, E>,
    output: T,
    keys: Vec<TracedKey>,
) {
    edge.reach = Reach::Result;
    edge.state = EdgeState::Done { output, keys };
    edge.forget_search();
}
