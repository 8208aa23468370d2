//! Which rows this process uses: each is locked once, however many refs share it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::RefInner;
use crate::disk::DiskError;
use crate::lease::locks::{LockFile, Mode, Purpose, Row};

/// The rows in use by this process.
#[derive(Debug)]
pub(crate) struct Holds {
    locks: LockFile,
    slots: Mutex<HashMap<Row, Slot>>,
}

#[derive(Debug, Default)]
struct Slot {
    holders: usize,
    /// The one ref of this row, while there is one.
    known: Weak<RefInner>,
}

/// One user of a row. While it exists, in this process, no process removes the row.
#[derive(Debug)]
pub(crate) struct Hold {
    holds: Arc<Holds>,
    row: Row,
}

impl Holds {
    pub(crate) fn new(locks: LockFile) -> Arc<Holds> {
        Arc::new(Holds {
            locks,
            slots: Mutex::default(),
        })
    }

    /// Holds a row. Whether it still exists must be looked up afterwards.
    pub(crate) fn hold(self: &Arc<Self>, row: Row) -> Result<Hold, DiskError> {
        loop {
            if let Some(hold) = self.hold_now(row)? {
                return Ok(hold);
            }
            // Somebody is removing the row at this moment. Wait for that, outside of the table's lock, then look
            // again: what is locked here may be unlocked by the drop of another hold.
            self.locks.lock(Purpose::Use, row, Mode::Shared)?;
        }
    }

    /// Holds a row if nobody is removing it.
    pub(crate) fn hold_now(self: &Arc<Self>, row: Row) -> Result<Option<Hold>, DiskError> {
        let mut slots = self.slots();
        let holders = slots.get(&row).map_or(0, |slot| slot.holders);
        if holders == 0 && !self.locks.try_lock(Purpose::Use, row, Mode::Shared)? {
            return Ok(None);
        }
        slots.entry(row).or_default().holders += 1;
        Ok(Some(Hold {
            holds: self.clone(),
            row,
        }))
    }

    /// The ref of this row that this process has already.
    pub(crate) fn known(&self, row: Row) -> Option<Arc<RefInner>> {
        self.slots().get(&row)?.known.upgrade()
    }

    /// Makes `made` the one ref of its row, unless another thread was faster; returns the one that counts.
    pub(crate) fn publish(&self, row: Row, made: Arc<RefInner>) -> Arc<RefInner> {
        let mut slots = self.slots();
        let slot = slots.entry(row).or_default();
        match slot.known.upgrade() {
            Some(first) => {
                // Dropping `made` takes the table's lock.
                drop(slots);
                first
            }
            None => {
                slot.known = Arc::downgrade(&made);
                made
            }
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Row, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    pub(crate) fn row(&self) -> Row {
        self.row
    }
}

impl Clone for Hold {
    fn clone(&self) -> Hold {
        self.holds.slots().entry(self.row).or_default().holders += 1;
        Hold {
            holds: self.holds.clone(),
            row: self.row,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut slots = self.holds.slots();
        let Some(slot) = slots.get_mut(&self.row) else {
            return;
        };
        slot.holders -= 1;
        if slot.holders == 0 {
            slots.remove(&self.row);
            self.holds.locks.unlock(Purpose::Use, self.row);
        }
    }
}
