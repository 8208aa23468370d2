//! How much content may be in memory that is not written yet.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that one transfer may hold.
const LIMIT: usize = 16 << 20;

/// Bytes taken and not given back.
#[derive(Debug, Default)]
pub(super) struct Budget {
    taken: Mutex<usize>,
    given_back: Condvar,
}

impl Budget {
    /// Takes bytes if they are free, or nothing is taken at all.
    pub(super) fn try_take(&self, bytes: usize) -> bool {
        let mut taken = self.lock();
        let fits = *taken == 0 || *taken + bytes <= LIMIT;
        if fits {
            *taken += bytes;
        }
        fits
    }

    /// Takes bytes as soon as they are free.
    pub(super) fn take(&self, bytes: usize) {
        let mut taken = self.lock();
        while *taken != 0 && *taken + bytes > LIMIT {
            taken = self
                .given_back
                .wait(taken)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *taken += bytes;
    }

    pub(super) fn give_back(&self, bytes: usize) {
        *self.lock() -= bytes;
        self.given_back.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
