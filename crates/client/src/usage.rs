//! What a daemon's store holds, and freeing it.

use std::time::Duration;

use futures::{Stream, TryStreamExt as _};
use kiln_protocol::control;
use kiln_session::progress::Timestamp;

use crate::status::timestamp;
use crate::{Client, ClientError};

/// One record of the store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageRecord {
    /// Names the record.
    pub id: String,
    /// It may still be written to.
    pub mutable: bool,
    /// A build uses it, or another record is based on it.
    pub in_use: bool,
    /// Bytes it takes.
    pub size: i64,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When a build last used it.
    pub last_used: Option<Timestamp>,
    /// How often builds used it.
    pub usage_count: i64,
    /// Ids of the records it is based on.
    pub parents: Vec<String>,
    /// For people.
    pub description: String,
    /// `regular`, `source.local`, `exec.cachemount`, …
    pub record_type: String,
    /// An image uses it as well.
    pub shared: bool,
}

/// What a prune removes. The default removes all that nobody uses, except
/// internal records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneRequest {
    /// Filters in containerd's syntax, of which one must match.
    pub filters: Vec<String>,
    /// Includes internal records and frontends.
    pub all: bool,
    /// Keeps what was used within this time.
    pub keep_duration: Duration,
    /// Never removes so much that less than this many bytes remain.
    pub reserved_space: i64,
    /// Removes only what exceeds this many bytes; 0 for no such limit.
    pub max_used_space: i64,
    /// Removes only until this many bytes of the disk are free; 0 for no such limit.
    pub min_free_space: i64,
}

impl Client {
    /// Records that one of the filters matches (all if there are none), by size.
    pub async fn disk_usage(&self, filters: &[String]) -> Result<Vec<UsageRecord>, ClientError> {
        let request = control::DiskUsageRequest {
            filter: filters.to_vec(),
            age_limit: 0,
        };
        let answer = self.control().disk_usage(request).await;
        let answer = answer.map_err(|status| self.failed("failed to call diskusage", status))?;
        let records = answer.into_inner().record.into_iter();
        let mut records = records.map(UsageRecord::from).collect::<Vec<_>>();
        records.sort_by(|a, b| (a.size, &a.id).cmp(&(b.size, &b.id)));
        Ok(records)
    }

    /// Removes what the request says; yields each removed record.
    pub async fn prune(
        &self,
        request: PruneRequest,
    ) -> Result<impl Stream<Item = Result<UsageRecord, ClientError>> + use<>, ClientError> {
        let request = control::PruneRequest {
            filter: request.filters,
            all: request.all,
            keep_duration: i64::try_from(request.keep_duration.as_nanos()).unwrap_or(i64::MAX),
            reserved_space: request.reserved_space,
            max_used_space: request.max_used_space,
            min_free_space: request.min_free_space,
        };
        let client = self.clone();
        let answer = self.control().prune(request).await;
        let answer = answer.map_err(|status| self.failed("failed to call prune", status))?;
        let records = answer.into_inner().map_ok(UsageRecord::from);
        Ok(records.map_err(move |status| client.failed("failed to call prune", status)))
    }
}

impl From<control::UsageRecord> for UsageRecord {
    fn from(record: control::UsageRecord) -> Self {
        Self {
            id: record.id,
            mutable: record.mutable,
            in_use: record.in_use,
            size: record.size,
            created: record.created_at.as_ref().and_then(timestamp),
            last_used: record.last_used_at.as_ref().and_then(timestamp),
            usage_count: record.usage_count,
            parents: record.parents,
            description: record.description,
            record_type: record.record_type,
            shared: record.shared,
        }
    }
}
