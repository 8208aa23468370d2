//! A queue from many threads to one, bounded by the bytes in it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that may wait. Only builds that outrun the disk by this much are
/// slowed down.
const LIMIT: usize = 32 << 20;

pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    drained: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    bytes: usize,
    is_closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                bytes: 0,
                is_closed: false,
            }),
            filled: Condvar::new(),
            drained: Condvar::new(),
        }
    }

    /// Adds an item of about `size` bytes, after waiting for room. Once the
    /// queue is closed it is dropped instead.
    pub(super) fn push(&self, item: T, size: usize) {
        let mut state = self.lock();
        while state.bytes >= LIMIT && !state.is_closed {
            state = self
                .drained
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_closed {
            return;
        }
        state.items.push_back(item);
        state.bytes += size;
        drop(state);
        self.filled.notify_one();
    }

    /// Takes all items, waiting for one; `None` once the queue is closed and
    /// empty.
    pub(super) fn take(&self) -> Option<VecDeque<T>> {
        let mut state = self.lock();
        while state.items.is_empty() {
            if state.is_closed {
                return None;
            }
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.bytes = 0;
        let items = std::mem::take(&mut state.items);
        drop(state);
        self.drained.notify_all();
        Some(items)
    }

    /// Takes nothing in any more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.filled.notify_all();
        self.drained.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
