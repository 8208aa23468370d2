//! Work for the threads of a local export.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::directory::DirNode;
use crate::ExportError;

/// A source directory and the number of the tree it belongs to.
pub(super) type Source = (usize, OwnedFd);

/// A piece of work.
pub(super) enum Task {
    /// A directory still to be opened, in the sources at these positions of the parent's.
    Named {
        /// The parent and its sources.
        parent: (Arc<DirNode>, Arc<Vec<Source>>),
        name: CString,
        sources: Vec<usize>,
    },
    /// An open directory whose entries are to be looked at.
    Listed {
        node: Arc<DirNode>,
        sources: Vec<Source>,
    },
    /// Entries that are no directories, each with the position of its source.
    Files {
        node: Arc<DirNode>,
        sources: Arc<Vec<Source>>,
        files: Vec<(CString, usize)>,
    },
}

/// A stack of tasks. The newest comes first, so that few directories are open at once.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    tasks: Vec<Task>,
    running: usize,
    failure: Option<ExportError>,
}

impl Queue {
    pub(super) fn push(&self, task: Task) {
        self.state().tasks.push(task);
        self.changed.notify_one();
    }

    /// Performs tasks until there are none and none can come, or one has failed.
    pub(super) fn work(&self, perform: impl Fn(Task) -> Result<(), ExportError>) {
        while let Some(task) = self.next() {
            let outcome = perform(task);
            let mut state = self.state();
            state.running -= 1;
            if let Err(error) = outcome {
                state.failure.get_or_insert(error);
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    /// The first error. Tasks that were left are dropped.
    pub(super) fn take_failure(&self) -> Option<ExportError> {
        let left = std::mem::take(&mut self.state().tasks);
        drop(left);
        self.state().failure.take()
    }

    fn next(&self) -> Option<Task> {
        let mut state = self.state();
        loop {
            if state.failure.is_some() {
                return None;
            }
            if let Some(task) = state.tasks.pop() {
                state.running += 1;
                return Some(task);
            }
            if state.running == 0 {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
