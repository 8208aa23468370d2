//! Builds that a daemon remembers.
//!
//! Records are the protocol's own messages: what a record holds differs from
//! daemon to daemon, and tools show all of it.

use futures::{Stream, TryStreamExt as _};
use kiln_protocol::control;
pub use kiln_protocol::control::{
    BuildHistoryEvent, BuildHistoryEventType, BuildHistoryRecord, BuildResultInfo, Descriptor,
};

use crate::{Client, ClientError};

/// Which builds to hear of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryRequest {
    /// Only builds that run.
    pub active_only: bool,
    /// Only this build; all if empty.
    pub reference: String,
    /// Ends after what is known now, instead of waiting for more.
    pub known_only: bool,
    /// Filters in containerd's syntax, of which one must match.
    pub filters: Vec<String>,
    /// At most so many records; 0 for no limit.
    pub limit: i32,
}

/// What to do with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryChange {
    /// Garbage collection passes it by.
    Pin,
    /// Undoes a pin.
    Unpin,
    /// Forgets it now.
    Delete,
    /// Writes its trace now.
    Finalize,
}

impl Client {
    /// Builds as they start, end and are forgotten, known ones first.
    pub async fn histories(
        &self,
        request: HistoryRequest,
    ) -> Result<impl Stream<Item = Result<BuildHistoryEvent, ClientError>> + use<>, ClientError>
    {
        let request = control::BuildHistoryRequest {
            active_only: request.active_only,
            r#ref: request.reference,
            early_exit: request.known_only,
            filter: request.filters,
            limit: request.limit,
        };
        let client = self.clone();
        let what = "failed to list the history";
        let answer = self.control().listen_build_history(request).await;
        let answer = answer.map_err(|status| self.failed(what, status))?;
        let events = answer.into_inner();
        Ok(events.map_err(move |status| client.failed(what, status)))
    }

    /// Changes one record.
    pub async fn update_history(
        &self,
        reference: &str,
        change: HistoryChange,
    ) -> Result<(), ClientError> {
        let request = control::UpdateBuildHistoryRequest {
            r#ref: reference.to_owned(),
            pinned: change == HistoryChange::Pin,
            delete: change == HistoryChange::Delete,
            finalize: change == HistoryChange::Finalize,
        };
        let answer = self.control().update_build_history(request).await;
        answer.map_err(|status| self.failed("failed to change the history", status))?;
        Ok(())
    }
}
