//! Changes of records that clients ask for.

use super::{History, HistoryError, blocking};

impl History {
    /// Keeps a record whatever its age, or no longer.
    pub async fn set_pinned(&self, build: &str, pinned: bool) -> Result<(), HistoryError> {
        let (shared, build) = (self.shared.clone(), build.to_owned());
        blocking(move || match shared.table.get(&build)? {
            Some(row) if row.record.pinned == pinned && !row.version.is_active => Ok(()),
            Some(_) => {
                let found = shared
                    .table
                    .update(&build, &[], |record| record.pinned = pinned)?;
                shared.announce_change();
                match found {
                    true => Ok(()),
                    false => Err(HistoryError::Running { build }),
                }
            }
            None => Err(HistoryError::NotFound { build }),
        })
        .await
    }

    /// Removes a record; its blobs go with the next prune. Builds that run
    /// cannot be removed.
    pub async fn delete(&self, build: &str) -> Result<(), HistoryError> {
        self.finalize(build).await;
        let (shared, build) = (self.shared.clone(), build.to_owned());
        blocking(move || {
            if shared.table.delete(&build)? {
                shared.announce_change();
                return Ok(());
            }
            match shared.table.get(&build)? {
                Some(_) => Err(HistoryError::Running { build }),
                None => Err(HistoryError::NotFound { build }),
            }
        })
        .await
    }

    /// Completes a finished build's record now instead of waiting for more
    /// spans of its trace, and returns once it is complete.
    pub async fn finalize(&self, build: &str) {
        let Some(finalizer) = self.shared.live.finalizer(build) else {
            return;
        };
        finalizer.hurry.notify_one();
        // The sender lives as long as `finalizer`.
        let _ = finalizer.done.subscribe().wait_for(|done| *done).await;
    }

    /// Completes all records, and lets listeners go once no build of this
    /// engine is left. For an engine that is about to stop.
    pub async fn close(&self) {
        let waiting: Vec<_> = {
            let mut live = self.shared.live.lock();
            live.is_closing = true;
            live.finalizers.keys().cloned().collect()
        };
        for build in waiting {
            self.finalize(&build).await;
        }
        self.shared.announce_change();
    }
}
