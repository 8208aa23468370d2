//! The builds of this process that are not in the history yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::log::LiveLog;

#[derive(Default)]
pub(super) struct LiveBuilds(Mutex<State>);

#[derive(Default)]
pub(super) struct State {
    /// Logs by the build's ref.
    pub(super) logs: HashMap<String, Arc<LiveLog>>,
    /// Logs of builds that ended a moment ago and that no record tells of:
    /// clients may ask for the progress of a short build after its end.
    pub(super) late: HashMap<String, Arc<LiveLog>>,
    /// Builds that are over, but whose traces are still to come.
    pub(super) finalizers: HashMap<String, Arc<Finalizer>>,
    /// Whether listeners go once nothing is live.
    pub(super) is_closing: bool,
}

/// Decides when a finished build's record is complete.
pub(super) struct Finalizer {
    /// Asks for it to be complete now.
    pub(super) hurry: Notify,
    /// Whether it is.
    pub(super) done: watch::Sender<bool>,
}

impl Finalizer {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            hurry: Notify::new(),
            done: watch::Sender::new(false),
        })
    }
}

impl LiveBuilds {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn log(&self, build: &str) -> Option<Arc<LiveLog>> {
        let state = self.lock();
        let late = || state.late.get(build);
        state.logs.get(build).or_else(late).cloned()
    }

    pub(super) fn finalizer(&self, build: &str) -> Option<Arc<Finalizer>> {
        self.lock().finalizers.get(build).cloned()
    }

    /// Whether listeners need wait no longer.
    pub(super) fn is_over(&self) -> bool {
        let state = self.lock();
        state.is_closing && state.logs.is_empty() && state.finalizers.is_empty()
    }
}
