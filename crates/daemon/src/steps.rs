//! Counts the steps of a build as it reports them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kiln_session::progress::{Progress, Update};

/// Takes the news of one build and keeps only numbers.
#[derive(Default)]
pub(crate) struct StepCounter(Mutex<State>);

#[derive(Default)]
struct State {
    /// All steps as they were last reported; some end more than once.
    steps: HashMap<String, Step>,
    warnings: u64,
}

struct Step {
    phase: Phase,
    is_cached: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Ended,
}

/// Sums over a whole build.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// All steps.
    pub(crate) total: u64,
    /// Steps that ended.
    pub(crate) completed: u64,
    /// Steps that came from a cache.
    pub(crate) cached: u64,
    /// Warnings.
    pub(crate) warnings: u64,
}

impl StepCounter {
    /// What the build came to so far.
    pub(crate) fn counts(&self) -> Counts {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |wanted: fn(&Step) -> bool| {
            let steps = state.steps.values();
            steps.filter(|step| wanted(step)).count() as u64
        };
        Counts {
            total: state.steps.len() as u64,
            completed: count(|step| step.phase == Phase::Ended),
            cached: count(|step| step.is_cached),
            warnings: state.warnings,
        }
    }
}

impl Progress for StepCounter {
    fn update(&self, update: Update) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.warnings += update.warnings.len() as u64;
        for vertex in update.vertexes {
            let step = Step {
                phase: match vertex.completed {
                    Some(_) => Phase::Ended,
                    None => Phase::Open,
                },
                is_cached: vertex.cached,
            };
            state.steps.insert(vertex.digest, step);
        }
    }
}
