//! Results that turn out to be lost after they were handed out.

use std::collections::BTreeSet;

use super::edge::EdgeState;
use super::{Action, Core, VertexId};
use crate::observe::JobId;

impl<T: Clone, E: std::error::Error + 'static> Core<T, E> {
    /// The outputs that a job's vertices have.
    pub(crate) fn outputs(&self, job: &JobId) -> Vec<(VertexId, T)> {
        let vertices = self.jobs.get(job).map_or(&[][..], |job| &job.vertices);
        let mut outputs = Vec::new();
        for vertex in vertices {
            let Some(state) = self.vertices.get(*vertex) else {
                continue;
            };
            for edge in state.edges.values() {
                if let Some(EdgeState::Done { output, .. }) =
                    self.edges.get(*edge).map(|edge| &edge.state)
                {
                    outputs.push((*vertex, output.clone()));
                }
            }
        }
        outputs
    }

    /// Keeps later solves from sharing these vertices and all that builds on them. Whoever has them keeps them.
    pub(super) fn disown(&mut self, job: &JobId, lost: &[VertexId]) {
        for vertex in lost.iter().copied() {
            if self.is_shared(vertex) {
                let job = job.clone();
                self.actions.push(Action::Lost { vertex, job });
            }
        }
        for vertex in self.built_on(lost) {
            let Some(state) = self.vertices.get(vertex) else {
                continue;
            };
            if self.active.get(&state.info.digest) == Some(&vertex) {
                self.active.remove(&state.info.digest);
            }
            for edge in state.edges.values() {
                self.index.remove(*edge);
            }
        }
    }

    /// Whether solves may share a vertex.
    pub(super) fn is_shared(&self, vertex: VertexId) -> bool {
        let digest = self.vertices.get(vertex).map(|state| &state.info.digest);
        digest.and_then(|digest| self.active.get(digest)) == Some(&vertex)
    }

    /// These vertices with all whose results come from them, by inputs or because an edge stands for another.
    fn built_on(&self, lost: &[VertexId]) -> BTreeSet<VertexId> {
        let mut found: BTreeSet<VertexId> = lost.iter().copied().collect();
        loop {
            let before = found.len();
            for (vertex, state) in self.vertices.iter() {
                let inputs = state.inputs.iter().map(|(input, _)| *input);
                let stand_ins = state.edges.values().filter_map(|edge| {
                    let into = self.resolve(*edge);
                    self.edges.get(into).map(|edge| edge.vertex)
                });
                if inputs.chain(stand_ins).any(|below| found.contains(&below)) {
                    found.insert(vertex);
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }
}
