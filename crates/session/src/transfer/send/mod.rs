//! The sending end of a transfer.
//!
//! One thread announces all entries, a few others read what is asked for, and one listens to the
//! receiver. Small files are read whole before they are sent, and many go out in one step.

mod content;
mod outgoing;
mod queue;
mod reader;
mod speaker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use outgoing::{Announced, Clash, OutgoingTree, Owners, Sockets};

use super::error::TransferError;
use super::link::Link;
use super::pump;

/// Told how many bytes have gone out, from any thread and often.
pub type SendProgress = Arc<dyn Fn(u64) + Send + Sync>;

/// Set when nobody waits for the transfer any more.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// For calls that look at the bare flag.
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }

    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Stops the threads when the future that waits for them is dropped.
struct StopOnDrop(StopFlag);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Sends the tree that `make` finds, on a thread that may block. Dropping the future ends the
/// transfer.
///
/// # Errors
/// The tree cannot be read, or the other side fails or does not keep to the protocol. The other
/// side is told why.
pub async fn send(
    link: Link,
    make: impl FnOnce(&StopFlag) -> Result<OutgoingTree, TransferError> + Send + 'static,
    progress: SendProgress,
) -> Result<(), TransferError> {
    let Link { inbound, outbound } = link;
    let (inbox, filling) = pump::inbox(inbound);
    let stop = StopFlag::default();
    let _guard = StopOnDrop(stop.clone());
    let work = tokio::task::spawn_blocking(move || {
        speaker::run(inbox, &outbound, make, &speaker::Terms { stop, progress })
    });
    let (worked, rest) = tokio::join!(work, filling);
    rest.see_off().await;
    worked.map_err(|error| TransferError::Internal(error.to_string()))?
}
