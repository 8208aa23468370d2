//! The files that were asked for and not sent.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes of small files that one thread takes at a time, and how many of them.
const LOAD: u64 = 256 << 10;
const MOST: usize = 64;

/// Files to be read, in the order they were asked for.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Places in the list, with sizes.
    waiting: VecDeque<(usize, u64)>,
    is_closed: bool,
}

impl Queue {
    pub(super) fn push(&self, files: impl IntoIterator<Item = (usize, u64)>) {
        self.lock().waiting.extend(files);
        self.changed.notify_all();
    }

    /// No more files are wanted, nor are those that wait.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.waiting.clear();
        drop(state);
        self.changed.notify_all();
    }

    /// The next few files; `None` if there are none and none will come.
    pub(super) fn take(&self) -> Option<Vec<usize>> {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.is_closed {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut taken = Vec::new();
        let mut load = 0;
        while load < LOAD && taken.len() < MOST {
            let Some((at, size)) = state.waiting.pop_front() else {
                break;
            };
            load += size;
            taken.push(at);
        }
        Some(taken)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
