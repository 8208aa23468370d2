//! A vertex in work: its op's calls, each made once for all edges and jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ids::{EdgeId, TaskId, VertexId};
use crate::context::LiveJobs;
use crate::error::SolveError;
use crate::graph::VertexOptions;
use crate::key::TracedKey;
use crate::observe::VertexInfo;
use crate::op::CacheMap;

/// A call of an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    /// For the next cache map.
    CacheMap,
    /// For the content digest of an input, or to prepare it.
    Input(usize),
    Execute,
}

/// A call and what came of it.
#[derive(Debug)]
pub(crate) enum Slot<V> {
    Idle,
    Running(TaskId),
    /// Cancelled, but not back yet. It is not called again before.
    Stopping(TaskId),
    Done(V),
}

/// What became of an input.
#[derive(Clone, Debug)]
pub(crate) enum InputWork {
    /// Its content as a key; the op may say that there is none.
    Content(Option<TracedKey>),
    Prepared,
}

/// A vertex wanted by at least one job.
#[derive(Debug)]
pub(crate) struct VertexState<T, E: std::error::Error + 'static> {
    pub info: Arc<VertexInfo>,
    pub jobs: LiveJobs,
    pub options: VertexOptions,
    /// Vertices and outputs.
    pub inputs: Vec<(VertexId, usize)>,
    pub edges: BTreeMap<usize, EdgeId>,
    pub maps: Vec<Arc<CacheMap>>,
    pub next_map: Slot<()>,
    pub input_work: Vec<Slot<InputWork>>,
    pub execution: Slot<Vec<T>>,
    /// Edges which wait for a call.
    pub waiting: BTreeSet<(Call, EdgeId)>,
    pub fault: Option<SolveError<E>>,
}

impl<T, E: std::error::Error + 'static> VertexState<T, E> {
    pub(crate) fn new(
        info: Arc<VertexInfo>,
        jobs: LiveJobs,
        options: VertexOptions,
        inputs: Vec<(VertexId, usize)>,
    ) -> Self {
        Self {
            info,
            jobs,
            options,
            edges: BTreeMap::new(),
            maps: Vec::new(),
            next_map: Slot::Idle,
            input_work: inputs.iter().map(|_| Slot::Idle).collect(),
            execution: Slot::Idle,
            waiting: BTreeSet::new(),
            fault: None,
            inputs,
        }
    }

    pub(crate) fn is_wanted(&self, call: Call) -> bool {
        self.waiting
            .range((call, EdgeId(0))..=(call, EdgeId(u64::MAX)))
            .next()
            .is_some()
    }

    /// Nobody waits for a call any more.
    pub(crate) fn stop_waiting(&mut self, call: Call) {
        let (from, to) = ((call, EdgeId(0)), (call, EdgeId(u64::MAX)));
        while let Some(waiter) = self.waiting.range(from..=to).next().copied() {
            self.waiting.remove(&waiter);
        }
    }

    pub(crate) fn waits(&self, edge: EdgeId) -> bool {
        self.waiting.iter().any(|(_, waiter)| *waiter == edge)
    }

    /// The result of an input's call, if it is there.
    pub(crate) fn input_done(&self, index: usize) -> Option<&InputWork> {
        match self.input_work.get(index) {
            Some(Slot::Done(work)) => Some(work),
            _ => None,
        }
    }

    /// Tasks that are out.
    pub(crate) fn running(&self) -> Vec<TaskId> {
        let inputs = self.input_work.iter().filter_map(Slot::task);
        self.next_map
            .task()
            .into_iter()
            .chain(inputs)
            .chain(self.execution.task())
            .collect()
    }
}

impl<V> Slot<V> {
    fn task(&self) -> Option<TaskId> {
        match self {
            Self::Running(task) | Self::Stopping(task) => Some(*task),
            Self::Idle | Self::Done(_) => None,
        }
    }

    /// Marks a running call as not wanted; answers the task to cancel.
    pub(crate) fn stop(&mut self) -> Option<TaskId> {
        let Self::Running(task) = *self else {
            return None;
        };
        *self = Self::Stopping(task);
        Some(task)
    }
}
