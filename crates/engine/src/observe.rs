//! Turns the solver's events about vertices into progress for one client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kiln_llb::pb;
use kiln_session::progress::{ProgressGroup, ProgressSink, Timestamp, Update, Vertex};
use kiln_solver::{Observer, Progress, VertexEvent};
use oci_spec::image::Digest;

use crate::explain::FactBook;

/// Watches the vertices of one build.
pub(crate) struct JobObserver {
    progress: ProgressSink,
    /// What is noted of the build.
    pub(crate) facts: Arc<FactBook>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Groups by digest in the definition.
    groups: HashMap<Digest, ProgressGroup>,
    /// All vertices seen, as they were last reported.
    vertices: HashMap<String, Vertex>,
}

impl JobObserver {
    pub(crate) fn new(progress: ProgressSink, facts: Arc<FactBook>) -> Arc<Self> {
        Arc::new(Self {
            progress,
            facts,
            state: Mutex::default(),
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns which vertices a client wants to see as one.
    pub(crate) fn learn_groups<'a>(
        &self,
        vertices: impl IntoIterator<Item = &'a kiln_llb::Vertex>,
    ) {
        let mut state = self.state();
        for vertex in vertices {
            if let Some(group) = &vertex.metadata.progress_group {
                state.groups.insert(vertex.digest.clone(), group_of(group));
            }
        }
    }
}

fn group_of(group: &pb::ProgressGroup) -> ProgressGroup {
    ProgressGroup {
        id: group.id.clone(),
        name: group.name.clone(),
        weak: group.weak,
    }
}

impl Observer for JobObserver {
    fn vertex(&self, event: VertexEvent) {
        self.facts.observe(&event);
        let time = Timestamp::try_from(event.time).unwrap_or_else(|_| Timestamp::now());
        let mut state = self.state();
        let mut vertex = Vertex {
            digest: event.vertex.digest.to_string(),
            inputs: event
                .vertex
                .inputs
                .iter()
                .map(ToString::to_string)
                .collect(),
            name: event.vertex.name.to_string(),
            progress_group: state.groups.get(&event.vertex.definition).cloned(),
            ..Vertex::default()
        };
        let mut since = time;
        if let Some(before) = state.vertices.get(&vertex.digest) {
            vertex.started = before.started;
            vertex.cached = before.cached;
            if matches!(event.progress, Progress::Added | Progress::CacheMissed) {
                vertex.completed = before.completed;
            } else if before.completed.is_none() {
                // What goes on has one start, whatever it turns out to be.
                since = before.started.unwrap_or(time);
            }
        }
        match &event.progress {
            Progress::Added => {}
            Progress::Started => {
                vertex.started = Some(since);
                vertex.cached = false;
            }
            Progress::CacheStarted => {
                vertex.started = Some(since);
                vertex.cached = true;
            }
            // It goes on as if nothing had been found, or will begin anew.
            Progress::CacheMissed => vertex.cached = false,
            Progress::Completed => vertex.completed = Some(time),
            Progress::Cached => {
                vertex.started.get_or_insert(time);
                vertex.completed = Some(time);
                vertex.cached = true;
            }
            Progress::Failed(error) => {
                // Also what fails before it runs, such as for a missing file,
                // is shown.
                vertex.started.get_or_insert(time);
                vertex.completed = Some(time);
                vertex.error = error.to_string();
            }
            Progress::Cancelled => {
                vertex.completed = Some(time);
                vertex.error = "context canceled".into();
            }
        }
        let mut vertexes = Vec::new();
        if vertex.started.is_some() {
            state.complete_inputs(&vertex, time, &mut vertexes);
        }
        state.vertices.insert(vertex.digest.clone(), vertex.clone());
        vertexes.push(vertex);
        drop(state);
        self.progress.update(Update {
            vertexes,
            ..Update::default()
        });
    }
}

impl State {
    /// A vertex that starts has all it needs: inputs that never ran were not
    /// needed, which clients see as cached.
    fn complete_inputs(&mut self, vertex: &Vertex, time: Timestamp, news: &mut Vec<Vertex>) {
        let mut open = vertex.inputs.clone();
        while let Some(digest) = open.pop() {
            let Some(input) = self.vertices.get_mut(&digest) else {
                continue;
            };
            if input.cached || input.completed.is_some() {
                continue;
            }
            input.cached = true;
            input.started.get_or_insert(time);
            input.completed = Some(time);
            news.push(input.clone());
            open.extend(input.inputs.iter().cloned());
        }
    }
}
