//! Jobs come and go: which vertices they share, and what is freed after them.

use std::collections::HashSet;
use std::sync::Arc;

use super::edge::{Asker, Edge, EdgeState, Reach};
use super::vertex::VertexState;
use super::{Action, Core, EdgeId, RequestId, Shape, Solve, VertexId};
use crate::context::LiveJobs;
use crate::digest::derived;
use crate::error::SolveError;
use crate::observe::{JobId, VertexInfo};

/// What a job holds.
#[derive(Debug, Default)]
pub(super) struct JobState {
    pub(super) vertices: Vec<VertexId>,
    requests: HashSet<RequestId>,
}

impl<T: Clone, E: std::error::Error + 'static> Core<T, E> {
    pub(super) fn solve(&mut self, solve: Solve) {
        let Solve {
            job,
            request,
            graph,
            root,
            output,
        } = solve;
        let (vertices, created) = self.place(&graph, root);
        let Some(vertex) = vertices.get(root).copied().flatten() else {
            return;
        };
        self.jobs
            .entry(job.clone())
            .or_default()
            .requests
            .insert(request);
        self.attach(vertex, &job);
        // A vertex which runs without cache is placed beside a shared one, but
        // stays unused if all its users are shared themselves.
        for vertex in created {
            if self
                .vertices
                .get(vertex)
                .is_some_and(|state| state.jobs.is_empty())
            {
                self.remove(vertex);
            }
        }
        let Some(edge) = self.edge_of(vertex, output) else {
            return self.answer(request, Err(SolveError::Cancelled));
        };
        let edge = self.resolve(edge);
        self.requests.insert(request, (job, edge));
        if let Some(edge) = self.edges.get_mut(edge) {
            edge.wants.insert(Asker::Request(request), Reach::Result);
        }
        self.touch(edge);
    }

    /// Finds or makes the vertices that `root` needs.
    fn place(&mut self, graph: &[Shape], root: usize) -> (Vec<Option<VertexId>>, Vec<VertexId>) {
        let needed = needed(graph, root);
        let mut placed: Vec<Option<VertexId>> = vec![None; graph.len()];
        let mut created = Vec::new();
        for (position, shape) in graph.iter().enumerate() {
            if !needed[position] {
                continue;
            }
            let identity = match shape.options.realm {
                Some(realm) => derived(&shape.digest, realm),
                None => shape.digest.clone(),
            };
            let without_cache = derived(&identity, "-ignorecache");
            // Whoever may use the cache can also share a run without it, but not the reverse.
            let shared = self.active.get(&without_cache).copied().or_else(|| {
                let vertex = *self.active.get(&identity)?;
                let ignores = self.vertices.get(vertex)?.options.ignore_cache;
                (ignores || !shape.options.ignore_cache).then_some(vertex)
            });
            if let Some(vertex) = shared {
                self.actions.push(Action::Shared { vertex });
                placed[position] = Some(vertex);
                continue;
            }
            let taken = self.active.contains_key(&identity);
            let digest = if taken { without_cache } else { identity };
            let inputs: Vec<(VertexId, usize)> = shape
                .inputs
                .iter()
                .filter_map(|(input, output)| Some((placed[*input]?, *output)))
                .collect();
            let info = Arc::new(VertexInfo {
                digest: digest.clone(),
                definition: shape.digest.clone(),
                name: shape.name.clone(),
                inputs: inputs
                    .iter()
                    .filter_map(|(input, _)| Some(self.vertices.get(*input)?.info.digest.clone()))
                    .collect(),
            });
            let jobs = LiveJobs::default();
            let below = inputs.iter().map(|(input, _)| *input).collect();
            let state = VertexState::new(info.clone(), jobs.clone(), shape.options.clone(), inputs);
            let vertex = self.vertices.add(state);
            self.active.insert(digest, vertex);
            self.actions.push(Action::Created {
                vertex,
                position,
                info,
                jobs,
                inputs: below,
            });
            placed[position] = Some(vertex);
            created.push(vertex);
        }
        (placed, created)
    }

    /// Makes a vertex and all it builds on part of a job. What one job shares
    /// always includes what stands for merged edges.
    pub(super) fn attach(&mut self, vertex: VertexId, job: &JobId) {
        let mut open = vec![vertex];
        let mut added = Vec::new();
        while let Some(id) = open.pop() {
            let Some(state) = self.vertices.get(id) else {
                continue;
            };
            if !state.jobs.insert(job.clone()) {
                continue;
            }
            added.push(id);
            open.extend(state.inputs.iter().map(|(input, _)| *input));
            for edge in state.edges.values() {
                let into = self.resolve(*edge);
                if into != *edge {
                    open.extend(self.edges.get(into).map(|edge| edge.vertex));
                }
            }
        }
        for vertex in added.iter().rev() {
            self.actions.push(Action::Added {
                vertex: *vertex,
                job: job.clone(),
            });
        }
        self.jobs
            .entry(job.clone())
            .or_default()
            .vertices
            .extend(added);
    }

    /// The edge of a vertex' output, made when first asked for.
    fn edge_of(&mut self, vertex: VertexId, output: usize) -> Option<EdgeId> {
        // Iterative: makes the edges of all inputs below that have none yet.
        let mut open = vec![(vertex, output, false)];
        while let Some((vertex, output, inputs_ready)) = open.pop() {
            let Some(state) = self.vertices.get(vertex) else {
                continue;
            };
            if state.edges.contains_key(&output) {
                continue;
            }
            if !inputs_ready {
                open.push((vertex, output, true));
                open.extend(
                    state
                        .inputs
                        .iter()
                        .map(|(input, output)| (*input, *output, false)),
                );
                continue;
            }
            let inputs = state
                .inputs
                .iter()
                .filter_map(|(input, output)| {
                    self.vertices
                        .get(*input)?
                        .edges
                        .get(output)
                        .map(|edge| self.resolve(*edge))
                })
                .collect();
            let edge = self.edges.add(Box::new(Edge::new(vertex, output, inputs)));
            if let Some(state) = self.vertices.get_mut(vertex) {
                state.edges.insert(output, edge);
            }
        }
        self.vertices.get(vertex)?.edges.get(&output).copied()
    }

    pub(super) fn give_up(&mut self, request: RequestId) {
        let Some((job, edge)) = self.requests.remove(&request) else {
            return;
        };
        if let Some(job) = self.jobs.get_mut(&job) {
            job.requests.remove(&request);
        }
        let edge = self.resolve(edge);
        if let Some(state) = self.edges.get_mut(edge) {
            state.wants.remove(&Asker::Request(request));
        }
        self.touch(edge);
    }

    pub(super) fn answer(&mut self, request: RequestId, answer: super::Answer<T, E>) {
        if let Some((job, _)) = self.requests.remove(&request)
            && let Some(job) = self.jobs.get_mut(&job)
        {
            job.requests.remove(&request);
        }
        self.actions.push(Action::Answer(request, answer));
    }

    pub(super) fn end_job(&mut self, job: &JobId) {
        let Some(state) = self.jobs.get(job) else {
            return;
        };
        for request in state.requests.clone() {
            self.give_up(request);
            self.actions
                .push(Action::Answer(request, Err(SolveError::Cancelled)));
        }
        let Some(state) = self.jobs.remove(job) else {
            return;
        };
        for vertex in state.vertices {
            let Some(state) = self.vertices.get(vertex) else {
                continue;
            };
            state.jobs.remove(job);
            if state.jobs.is_empty() {
                self.remove(vertex);
            }
        }
    }

    /// Frees a vertex that no job wants. Its users have no job either.
    fn remove(&mut self, vertex: VertexId) {
        let Some(state) = self.vertices.take(vertex) else {
            return;
        };
        if self.active.get(&state.info.digest) == Some(&vertex) {
            self.active.remove(&state.info.digest);
        }
        for task in state.running() {
            self.tasks.remove(&task);
            self.actions.push(Action::Cancel(task));
        }
        for id in state.edges.into_values() {
            self.merged.remove(&id);
            self.index.remove(id);
            if let Some(mut edge) = self.edges.take(id) {
                self.release(id, &mut edge);
                if let EdgeState::Loading { task, .. } = edge.state {
                    self.tasks.remove(&task);
                    self.actions.push(Action::Cancel(task));
                }
            }
        }
        self.actions.push(Action::Forget(vertex));
    }
}

/// Which vertices are below `root`; inputs stand before their users.
fn needed(graph: &[Shape], root: usize) -> Vec<bool> {
    let mut needed = vec![false; graph.len()];
    if let Some(flag) = needed.get_mut(root) {
        *flag = true;
    }
    for position in (0..graph.len().min(root + 1)).rev() {
        if needed[position] {
            for (input, _) in &graph[position].inputs {
                needed[*input] = true;
            }
        }
    }
    needed
}
