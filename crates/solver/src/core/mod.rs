//! The scheduler as a state machine: events in, actions out, nothing else.
//!
//! [`Core::step`] applies one event, then settles every edge it touched until
//! nothing moves any more. Demand flows from requests down to inputs, keys and
//! results flow up; see [`plan`] for what makes an edge ask for more.

mod calls;
mod disown;
mod edge;
mod event;
mod ids;
mod index;
mod jobs;
mod lookups;
mod merge;
mod plan;
mod results;
mod settle;
mod vertex;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use oci_spec::image::Digest;

pub(crate) use event::{Action, Answer, Event, Outcome, Query, Shape, Solve};
pub(crate) use ids::{EdgeId, RequestId, TaskId, VertexId};

use edge::Edge;
use ids::Arena;
use index::EdgeIndex;
use jobs::JobState;
use lookups::Lookup;
use vertex::{Call, VertexState};

use crate::key::Key;
use crate::observe::JobId;

/// Everything in work, for all jobs.
#[derive(Debug)]
pub(crate) struct Core<T, E: std::error::Error + 'static> {
    vertices: Arena<VertexId, VertexState<T, E>>,
    edges: Arena<EdgeId, Box<Edge<T, E>>>,
    /// Vertices by the digest under which jobs share them.
    active: HashMap<Digest, VertexId>,
    /// Edges that another one stands for.
    merged: HashMap<EdgeId, EdgeId>,
    index: EdgeIndex,
    jobs: HashMap<JobId, JobState>,
    requests: HashMap<RequestId, (JobId, EdgeId)>,
    tasks: HashMap<TaskId, Purpose>,
    next_task: u64,
    queue: VecDeque<EdgeId>,
    queued: HashSet<EdgeId>,
    actions: Vec<Action<T, E>>,
}

/// What a task was for.
#[derive(Debug)]
enum Purpose {
    Call(VertexId, Call),
    Load(EdgeId),
    Commit(EdgeId),
    Query(EdgeId, Lookup),
    Records(EdgeId, Arc<Key>),
    /// Linking keys that nobody waits for.
    Link,
}

impl<T, E: std::error::Error + 'static> Default for Core<T, E> {
    fn default() -> Self {
        Self {
            vertices: Arena::default(),
            edges: Arena::default(),
            active: HashMap::new(),
            merged: HashMap::new(),
            index: EdgeIndex::default(),
            jobs: HashMap::new(),
            requests: HashMap::new(),
            tasks: HashMap::new(),
            next_task: 0,
            queue: VecDeque::new(),
            queued: HashSet::new(),
            actions: Vec::new(),
        }
    }
}

impl<T: Clone, E: std::error::Error + 'static> Core<T, E> {
    /// Applies an event; answers what is to be done now, in this order.
    pub(crate) fn step(&mut self, event: Event<T, E>) -> Vec<Action<T, E>> {
        match event {
            Event::Solve(solve) => self.solve(solve),
            Event::GiveUp(request) => self.give_up(request),
            Event::EndJob(job) => self.end_job(&job),
            Event::Disown(job, lost) => self.disown(&job, &lost),
            Event::Finished(task, outcome) => self.finished(task, outcome),
        }
        while let Some(edge) = self.queue.pop_front() {
            self.queued.remove(&edge);
            self.settle(edge);
        }
        std::mem::take(&mut self.actions)
    }

    fn finished(&mut self, task: TaskId, outcome: Outcome<T, E>) {
        // Unknown tasks belong to edges and vertices that are gone.
        let Some(purpose) = self.tasks.remove(&task) else {
            return;
        };
        match (purpose, outcome) {
            (Purpose::Link, _) => {}
            (Purpose::Call(vertex, call), outcome) => self.called(vertex, call, outcome),
            (Purpose::Load(edge), Outcome::Loaded(output)) => self.loaded(edge, output),
            (Purpose::Commit(edge), Outcome::Committed(records)) => self.committed(edge, records),
            (Purpose::Query(edge, lookup), Outcome::Matches(keys)) => {
                self.matched(edge, lookup, keys);
            }
            (Purpose::Records(edge, key), Outcome::Records(records)) => {
                self.found(edge, &key, records);
            }
            (Purpose::Load(edge), Outcome::Panicked(_) | Outcome::Abandoned) => {
                self.loaded(edge, None)
            }
            (Purpose::Commit(edge), Outcome::Panicked(_) | Outcome::Abandoned) => {
                self.committed(edge, Vec::new())
            }
            (purpose, _) => debug_assert!(false, "wrong kind of answer to {purpose:?}"),
        }
    }

    /// Gives a new task its id.
    fn task(&mut self, purpose: Purpose) -> TaskId {
        let task = TaskId(self.next_task);
        self.next_task += 1;
        self.tasks.insert(task, purpose);
        task
    }

    /// Has the edge looked at before the step ends.
    fn touch(&mut self, edge: EdgeId) {
        if self.queued.insert(edge) {
            self.queue.push_back(edge);
        }
    }

    /// Has the edge look at one of its inputs.
    fn touch_input(&mut self, edge: EdgeId, input: usize) {
        if let Some(state) = self.edges.get_mut(edge) {
            state.changed.insert(input);
        }
        self.touch(edge);
    }

    /// The edge that stands for this one.
    fn resolve(&self, mut edge: EdgeId) -> EdgeId {
        while let Some(into) = self.merged.get(&edge) {
            edge = *into;
        }
        edge
    }

    /// How much is kept: vertices, edges and everything that hangs on them.
    pub(crate) fn size(&self) -> usize {
        self.vertices.len()
            + self.edges.len()
            + self.active.len()
            + self.merged.len()
            + self.index.len()
            + self.jobs.len()
            + self.requests.len()
            + self.tasks.len()
    }
}
