//! What records say of why steps ran.

use oci_spec::image::Digest;

use super::{History, HistoryError};
use crate::explain::Account;

/// Bytes of accounts after which no more are read.
const MOST_BYTES: i64 = 32 << 20;

impl History {
    /// What is kept of why steps ran, by the ids of builds, the newest first. What cannot be read is left out. Blocks.
    pub(crate) fn accounts(&self, most: usize) -> Result<Vec<(String, Account)>, HistoryError> {
        let versions = self.shared.table.versions()?.into_iter().rev();
        let finished = versions.filter(|(_, version)| !version.is_active);
        let mut accounts = Vec::new();
        let mut bytes = 0;
        for (build, _) in finished {
            if accounts.len() >= most || bytes > MOST_BYTES {
                break;
            }
            let row = self.shared.table.get(&build)?;
            let Some(blob) = row.and_then(|row| row.record.kiln_facts) else {
                continue;
            };
            if let Some(account) = self.account(&blob.digest) {
                bytes += blob.size;
                accounts.push((build, account));
            }
        }
        Ok(accounts)
    }

    fn account(&self, digest: &str) -> Option<Account> {
        let digest = Digest::try_from(digest).ok()?;
        let content = self.shared.store.content();
        let bytes = content.read(&digest, Account::limit() as u64).ok()?;
        Account::from_bytes(&bytes).ok()
    }
}
