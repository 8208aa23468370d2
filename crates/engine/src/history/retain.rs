//! How long records stay: by age and by number, unless they are pinned.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{History, HistoryError, blocking};

impl History {
    /// Removes records that are, at the time `now`, both older than the
    /// greatest age and not among the newest ones; pinned ones stay. Answers
    /// how many went.
    pub async fn remove_expired(&self, now: SystemTime) -> Result<usize, HistoryError> {
        let history = self.clone();
        blocking(move || history.remove_expired_now(now)).await
    }

    /// The same. Blocks.
    pub(crate) fn remove_expired_now(&self, now: SystemTime) -> Result<usize, HistoryError> {
        let options = &self.shared.options;
        let limit = now
            .checked_sub(options.max_age)
            .and_then(|limit| limit.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_secs());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let expired = self.shared.table.expired(options.max_entries, limit)?;
        let mut count = 0;
        for build in expired {
            count += usize::from(self.shared.table.delete(&build)?);
        }
        if count > 0 {
            self.shared.announce_change();
        }
        Ok(count)
    }
}
