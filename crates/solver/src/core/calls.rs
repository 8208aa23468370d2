//! Calls of ops: started when the first edge waits for one, cancelled when
//! the last does not any more.

use std::sync::Arc;

use super::vertex::{Call, InputWork, Slot};
use super::{Action, Core, EdgeId, Outcome, Purpose, TaskId, VertexId};
use crate::error::{SolveError, Stage, VertexFailure};
use crate::graph::Edge as EdgeName;
use crate::key::TracedKey;
use crate::op::CacheMap;

impl<T: Clone, E: std::error::Error + 'static> Core<T, E> {
    /// Lets an edge wait for a call; `start` says how to make it.
    pub(super) fn want(
        &mut self,
        vertex: VertexId,
        call: Call,
        edge: EdgeId,
        start: impl FnOnce(TaskId) -> Action<T, E>,
    ) {
        let Some(state) = self.vertices.get_mut(vertex) else {
            return;
        };
        state.waiting.insert((call, edge));
        let idle = match call {
            Call::CacheMap => matches!(state.next_map, Slot::Idle),
            Call::Input(input) => matches!(state.input_work.get(input), Some(Slot::Idle)),
            Call::Execute => matches!(state.execution, Slot::Idle),
        };
        if !idle {
            return;
        }
        let task = self.task(Purpose::Call(vertex, call));
        if let Some(state) = self.vertices.get_mut(vertex) {
            match call {
                Call::CacheMap => state.next_map = Slot::Running(task),
                Call::Input(input) => state.input_work[input] = Slot::Running(task),
                Call::Execute => state.execution = Slot::Running(task),
            }
        }
        self.actions.push(start(task));
    }

    /// The edge waits for nothing any more.
    pub(super) fn unwant(&mut self, vertex: VertexId, edge: EdgeId) {
        let Some(state) = self.vertices.get_mut(vertex) else {
            return;
        };
        let calls: Vec<Call> = state
            .waiting
            .iter()
            .filter(|(_, waiter)| *waiter == edge)
            .map(|(call, _)| *call)
            .collect();
        for call in calls {
            state.waiting.remove(&(call, edge));
            if state.is_wanted(call) {
                continue;
            }
            let stopped = match call {
                Call::CacheMap => state.next_map.stop(),
                Call::Input(input) => state.input_work.get_mut(input).and_then(Slot::stop),
                Call::Execute => state.execution.stop(),
            };
            self.actions.extend(stopped.map(Action::Cancel));
        }
    }

    /// A call came back.
    pub(super) fn called(&mut self, vertex: VertexId, call: Call, outcome: Outcome<T, E>) {
        let Some(state) = self.vertices.get_mut(vertex) else {
            return;
        };
        let stopping = match call {
            Call::CacheMap => matches!(state.next_map, Slot::Stopping(_)),
            Call::Input(input) => matches!(state.input_work.get(input), Some(Slot::Stopping(_))),
            Call::Execute => matches!(state.execution, Slot::Stopping(_)),
        };
        state.stop_waiting(call);
        let edges: Vec<EdgeId> = state.edges.values().copied().collect();
        match call {
            Call::CacheMap => state.next_map = Slot::Idle,
            Call::Input(input) => state.input_work[input] = Slot::Idle,
            Call::Execute => state.execution = Slot::Idle,
        }
        let result = match (call, outcome) {
            (Call::CacheMap, Outcome::CacheMap(Ok(map))) => self.take_cache_map(vertex, map),
            (Call::Input(input), Outcome::ContentDigest(Ok(digest))) => {
                let key = digest.as_ref().map(TracedKey::content);
                state.input_work[input] = Slot::Done(InputWork::Content(key));
                Ok(())
            }
            (Call::Input(input), Outcome::Prepared(Ok(()))) => {
                state.input_work[input] = Slot::Done(InputWork::Prepared);
                Ok(())
            }
            (Call::Execute, Outcome::Executed(Ok(outputs))) => {
                state.execution = Slot::Done(outputs);
                Ok(())
            }
            (_, Outcome::CacheMap(Err(e))) => Err(self.failure(vertex, Stage::CacheMap, e)),
            (Call::Input(input), Outcome::ContentDigest(Err(e))) => {
                Err(self.failure(vertex, Stage::ContentDigest(input), e))
            }
            (Call::Input(input), Outcome::Prepared(Err(e))) => {
                Err(self.failure(vertex, Stage::Prepare(input), e))
            }
            (_, Outcome::Executed(Err(e))) => Err(self.failure(vertex, Stage::Execute, e)),
            (_, Outcome::Panicked(message)) => Err(Some(SolveError::Panicked {
                vertex: state.info.definition.clone(),
                name: state.info.name.clone(),
                message,
            })),
            (_, Outcome::Abandoned) => Err(None),
            (call, _) => {
                debug_assert!(false, "wrong kind of answer to {call:?}");
                Ok(())
            }
        };
        // A call that was cancelled may fail for that reason alone, so its
        // error says nothing; it is made again when wanted again.
        if let Err(fault) = result
            && !stopping
            && let Some(state) = self.vertices.get_mut(vertex)
        {
            state.fault = fault;
        }
        edges.into_iter().for_each(|edge| self.touch(edge));
    }

    fn take_cache_map(
        &mut self,
        vertex: VertexId,
        map: CacheMap,
    ) -> Result<(), Option<SolveError<E>>> {
        let state = self.vertices.get_mut(vertex).ok_or(None)?;
        if map.deps.len() == state.inputs.len() {
            state.maps.push(Arc::new(map));
            return Ok(());
        }
        Err(Some(SolveError::BadCacheMap {
            vertex: state.info.definition.clone(),
            name: state.info.name.clone(),
            inputs: state.inputs.len(),
            described: map.deps.len(),
        }))
    }

    fn failure(&self, vertex: VertexId, stage: Stage, error: Arc<E>) -> Option<SolveError<E>> {
        let state = self.vertices.get(vertex)?;
        let input = |(input, output): &(VertexId, usize)| {
            let vertex = self.vertices.get(*input)?.info.definition.clone();
            Some(EdgeName {
                vertex,
                output: *output,
            })
        };
        Some(SolveError::Vertex(VertexFailure {
            vertex: state.info.definition.clone(),
            name: state.info.name.clone(),
            inputs: state.inputs.iter().filter_map(input).collect(),
            stage,
            error,
        }))
    }
}
