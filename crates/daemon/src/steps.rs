//! Counts the steps of a build as it reports them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kiln_session::progress::{Progress, Update};

/// Takes the news of one build and keeps only numbers.
#[derive(Default)]
pub(crate) struct StepCounter(Mutex<State>);

#[derive(Default)]
struct State {
    /// All steps, and whether they ended.
    seen: HashMap<String, Phase>,
    counts: Counts,
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner).counts
    }
}

impl Progress for StepCounter {
    fn update(&self, update: Update) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { seen, counts } = &mut *state;
        counts.warnings += update.warnings.len() as u64;
        for vertex in update.vertexes {
            let phase = match vertex.completed {
                Some(_) => Phase::Ended,
                None => Phase::Open,
            };
            let before = seen.insert(vertex.digest, phase);
            counts.total += u64::from(before.is_none());
            if phase == Phase::Ended && before != Some(Phase::Ended) {
                counts.completed += 1;
                counts.cached += u64::from(vertex.cached);
            }
        }
    }
}
