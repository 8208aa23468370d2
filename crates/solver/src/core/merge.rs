//! Edges that turn out to be the same work become one.

use std::collections::{BTreeSet, HashSet};
use std::sync::PoisonError;

use super::edge::{Asker, Content, Edge, EdgeState};
use super::index::Trait;
use super::{Action, Core, EdgeId, Purpose, Query, VertexId};
use crate::digest::root_key;
use crate::key::KeyUse;

impl<T: Clone, E: std::error::Error + 'static> Core<T, E> {
    /// Looks for an equal edge; answers whether this one was merged into it.
    /// Called when something new is known about what the edge is.
    pub(super) fn merge_if_equal(&mut self, id: EdgeId, edge: &mut Edge<T, E>) -> bool {
        let news: Vec<Trait> = edge.news.drain(..).collect();
        if !self.is_shared(edge.vertex) {
            return false;
        }
        let sharing: BTreeSet<EdgeId> = news
            .iter()
            .flat_map(|known| self.index.sharing(known))
            .collect();
        let target = sharing
            .into_iter()
            .find(|other| *other != id && self.equal(edge, *other) && self.fits(id, edge, *other));
        if let Some(target) = target {
            self.merge(id, edge, target);
            return true;
        }
        news.into_iter()
            .for_each(|known| self.index.insert(id, known));
        false
    }

    /// Whether an edge which shares something with this one shares everything.
    fn equal(&self, edge: &Edge<T, E>, other: EdgeId) -> bool {
        let Some(other) = self.edges.get(other) else {
            return false;
        };
        edge.deps.len() == other.deps.len()
            && (0..edge.deps.len()).all(|index| {
                let (ours, theirs) = (&edge.deps[index], &other.deps[index]);
                let same_edge = self.resolve(ours.edge) == self.resolve(theirs.edge)
                    && edge.selector(index) == other.selector(index);
                same_edge
                    || matches!(
                        (&ours.content, &theirs.content),
                        (Content::Probed(Some(ours)), Content::Probed(Some(theirs)))
                            if ours.key.digest == theirs.key.digest
                    )
            })
    }

    /// Whether `other`, which is equal, may stand for the edge.
    fn fits(&self, id: EdgeId, edge: &Edge<T, E>, other: EdgeId) -> bool {
        let Some(target) = self.edges.get(other) else {
            return false;
        };
        if matches!(target.state, EdgeState::Failed(_)) {
            return false;
        }
        let ignores = |vertex: VertexId| {
            self.vertices
                .get(vertex)
                .is_some_and(|state| state.options.ignore_cache)
        };
        if ignores(edge.vertex) && !ignores(target.vertex) {
            return false;
        }
        // An op may give its input back unchanged: equal, and yet one needs the other.
        !self.depends(target.vertex, edge.vertex, (id, edge.vertex))
            && !self.depends(edge.vertex, target.vertex, (id, edge.vertex))
    }

    /// Whether `user` builds on `used`. `current` is being worked on.
    fn depends(&self, user: VertexId, used: VertexId, current: (EdgeId, VertexId)) -> bool {
        let mut seen = HashSet::from([user]);
        let mut open = vec![user];
        while let Some(vertex) = open.pop() {
            if vertex == used {
                return true;
            }
            let Some(state) = self.vertices.get(vertex) else {
                continue;
            };
            for (input, output) in &state.inputs {
                let edge = self
                    .vertices
                    .get(*input)
                    .and_then(|state| state.edges.get(output));
                let real = edge.and_then(|edge| {
                    let edge = self.resolve(*edge);
                    if edge == current.0 {
                        return Some(current.1);
                    }
                    Some(self.edges.get(edge)?.vertex)
                });
                let next = real.unwrap_or(*input);
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        false
    }

    fn merge(&mut self, id: EdgeId, edge: &mut Edge<T, E>, target: EdgeId) {
        self.release(id, edge);
        edge.state = EdgeState::Merged;
        self.index.remove(id);
        self.merged.insert(id, target);
        let wants = std::mem::take(&mut edge.wants);
        let extra = other_ways(edge, self.edges.get(target).map(|target| &**target));
        self.link_late(target, &extra);
        let Some(into) = self.edges.get_mut(target) else {
            return;
        };
        into.extra
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(extra);
        into.wants
            .extend(wants.iter().map(|(asker, reach)| (*asker, *reach)));
        let (from, into) = (edge.vertex, into.vertex);
        for asker in wants.into_keys() {
            match asker {
                Asker::Edge(user, input) => self.touch_input(user, input),
                Asker::Request(request) => {
                    if let Some((_, edge)) = self.requests.get_mut(&request) {
                        *edge = target;
                    }
                }
            }
        }
        self.actions.push(Action::Merged { from, into });
        let jobs = self
            .vertices
            .get(from)
            .map(|state| state.jobs.list())
            .unwrap_or_default();
        for job in jobs {
            self.attach(into, &job);
        }
        edge.forget_search();
        self.touch(target);
    }

    /// Has the caches link further ways to an edge whose keys are on their way
    /// to them, or there. The keys of other edges take such ways along.
    fn link_late(&mut self, id: EdgeId, extra: &[(usize, KeyUse)]) {
        let Some(edge) = self.edges.get(id) else {
            return;
        };
        if matches!(edge.state, EdgeState::Probing | EdgeState::Executing) {
            return;
        }
        let vertex = edge.vertex;
        let queries: Vec<Query> = (0..edge.deps.len())
            .filter_map(|input| late_ways(edge, input, extra))
            .collect();
        for query in queries {
            let task = self.task(Purpose::Link);
            self.actions.push(Action::Query {
                task,
                vertex,
                query,
            });
        }
    }
}

/// The question whose answer a cache gives by linking the ways of one input.
fn late_ways<T, E: std::error::Error + 'static>(
    edge: &Edge<T, E>,
    input: usize,
    extra: &[(usize, KeyUse)],
) -> Option<Query> {
    let Content::Probed(Some(content)) = &edge.deps[input].content else {
        return None;
    };
    let ways = extra.iter().filter(|(of, _)| *of == input);
    let equal: Vec<KeyUse> = ways.map(|(_, used)| used.clone()).collect();
    let digest = root_key(&edge.map.as_ref()?.digest, i64::try_from(edge.output).ok()?);
    (!equal.is_empty()).then(|| Query {
        keys: vec![content.used(None)],
        equal,
        input,
        digest,
    })
}

/// The keys of inputs which lead to the edge but not to the one it becomes.
fn other_ways<T, E: std::error::Error + 'static>(
    edge: &Edge<T, E>,
    target: Option<&Edge<T, E>>,
) -> Vec<(usize, KeyUse)> {
    let mut ways = edge
        .extra
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    for (index, dep) in edge.deps.iter().enumerate() {
        let same = target
            .and_then(|target| target.deps.get(index))
            .map(|dep| dep.edge);
        if same == Some(dep.edge) {
            continue;
        }
        let selector = edge.selector(index);
        ways.extend(dep.keys.iter().map(|key| (index, key.used(selector))));
        if let Some((_, keys)) = &dep.output {
            ways.extend(keys.iter().map(|key| (index, key.used(selector))));
        }
        if let Content::Probed(Some(key)) = &dep.content {
            ways.push((index, key.used(None)));
        }
    }
    ways
}
