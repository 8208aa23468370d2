//! The phases of a daemon's life: it takes builds, then it only finishes those
//! it has, then it cancels what is left.

use std::time::Duration;

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How long cancelled builds get to clean up.
const CLEANING_UP: Duration = Duration::from_secs(10);

/// In which phase the daemon is, and which builds it has. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life {
    stopping: CancellationToken,
    cancelled: CancellationToken,
    ended: CancellationToken,
    builds: TaskTracker,
}

/// The daemon takes no more builds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopping;

impl Life {
    /// Registers a build for as long as the answer lives.
    pub(crate) fn begin_build(&self) -> Result<TaskTrackerToken, Stopping> {
        let build = self.builds.token();
        if self.stopping.is_cancelled() {
            return Err(Stopping);
        }
        Ok(build)
    }

    /// Builds in flight.
    pub(crate) fn builds(&self) -> usize {
        self.builds.len()
    }

    /// Ready once no more clients are wanted.
    pub(crate) fn stopping(&self) -> WaitForCancellationFuture<'_> {
        self.stopping.cancelled()
    }

    /// Ready once builds must end.
    pub(crate) fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.cancelled.cancelled()
    }

    /// Ready once all builds have ended and connections are to be closed.
    pub(crate) fn ended(&self) -> WaitForCancellationFuture<'_> {
        self.ended.cancelled()
    }

    /// Takes no more builds from now on.
    pub(crate) fn stop(&self) {
        self.stopping.cancel();
        self.builds.close();
    }

    /// Waits for the builds in flight, and after `patience` cancels them.
    pub(crate) async fn finish_builds(&self, patience: Duration) {
        if !self.builds.is_empty() {
            tracing::info!(
                builds = self.builds.len(),
                ?patience,
                "waiting for builds to end"
            );
        }
        if tokio::time::timeout(patience, self.builds.wait())
            .await
            .is_err()
        {
            tracing::warn!(builds = self.builds.len(), "cancelling builds");
            self.cancelled.cancel();
            let _ = tokio::time::timeout(CLEANING_UP, self.builds.wait()).await;
        }
    }

    /// Lets connections end, once everything else has.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }
}
