//! Stopping work on blocking threads when the future that waits for it is dropped.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ExportError;

/// Tells blocking work that nobody waits for it any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancelled(Arc<AtomicBool>);

/// Cancels when dropped; dropping it after the work is done changes nothing.
pub(crate) struct CancelOnDrop(Cancelled);

impl Cancelled {
    /// A flag and the guard that sets it.
    pub(crate) fn new() -> (Self, CancelOnDrop) {
        let flag = Self::default();
        (flag.clone(), CancelOnDrop(flag))
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The error as its reader should see it: work that was stopped failed for no other reason.
    pub(crate) fn explain(&self, error: ExportError) -> ExportError {
        match self.is_set() {
            true => ExportError::Canceled,
            false => error,
        }
    }

    /// An error if the work should stop.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.is_set() {
            true => Err(io::Error::other("canceled")),
            false => Ok(()),
        }
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// A stream that refuses to be written once the work is cancelled.
pub(crate) struct Guarded<W> {
    pub(crate) stream: W,
    pub(crate) cancelled: Cancelled,
}

impl<W: Write> Write for Guarded<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.cancelled.check()?;
        self.stream.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
