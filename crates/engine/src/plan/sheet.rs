//! What a plan's ops and its solver note.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_session::progress::ProgressSink;
use kiln_solver::{Observer, Progress, VertexEvent};
use oci_spec::image::Digest;

use super::document::Certainty;
use super::op::Planned;
use crate::explain::{FactBook, StepKind};
use crate::observe::JobObserver;

/// A step as ops know theirs.
pub(super) struct Step {
    pub(super) digest: Digest,
    pub(super) kind: StepKind,
}

/// The notes of one plan.
pub(super) struct Sheet {
    notes: Mutex<Notes>,
    /// Shows the user what is resolved and transferred.
    shown: Arc<JobObserver>,
}

#[derive(Default)]
pub(super) struct Notes {
    /// What became of vertices, by their digests in definitions.
    pub(super) ends: HashMap<Digest, End>,
    /// Results that were looked at.
    pub(super) found: HashMap<Digest, Planned>,
    /// Whose files would be needed, and whether they would.
    pub(super) needed: HashMap<Digest, Certainty>,
}

/// What became of a vertex.
#[derive(Clone)]
pub(super) enum End {
    /// A cache is being asked for its result.
    Loading,
    Cached,
    Unneeded,
    /// It came to this.
    Outcome(Planned),
}

impl Sheet {
    pub(super) fn new(progress: &ProgressSink, facts: &Arc<FactBook>) -> Arc<Self> {
        Arc::new(Self {
            notes: Mutex::default(),
            shown: JobObserver::new(progress.clone(), facts.clone()),
        })
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what an op saw of an input.
    pub(super) fn found(&self, vertex: &Digest, output: &Planned) {
        self.notes().found.insert(vertex.clone(), output.clone());
    }

    /// Notes what a step comes to.
    pub(super) fn ends(&self, step: &Step, outcome: &Planned) {
        let end = End::Outcome(outcome.clone());
        self.notes().ends.insert(step.digest.clone(), end);
    }

    /// Notes that files of a result would be needed.
    pub(super) fn needs(&self, vertex: &Digest, certainty: Certainty) {
        let mut notes = self.notes();
        let known = notes.needed.entry(vertex.clone()).or_insert(certainty);
        *known = certainty.min(*known);
    }
}

/// The solver tells what becomes of steps whose ops do not hear of it.
impl Observer for Sheet {
    fn vertex(&self, event: VertexEvent) {
        let mut notes = self.notes();
        let vertex = event.vertex.definition.clone();
        let known = notes.ends.get(&vertex).cloned();
        match (&event.progress, known) {
            (Progress::CacheStarted, _) => {
                notes.ends.insert(vertex, End::Loading);
            }
            (Progress::CacheMissed, _) => {
                notes.ends.remove(&vertex);
            }
            (Progress::Cached, Some(End::Loading)) => {
                notes.ends.insert(vertex, End::Cached);
            }
            (Progress::Cached, None) => {
                notes.ends.insert(vertex, End::Unneeded);
            }
            _ => {}
        }
        drop(notes);
        // What would run is not shown as if it did.
        if event.vertex.inputs.is_empty() {
            self.shown.vertex(event);
        }
    }
}
