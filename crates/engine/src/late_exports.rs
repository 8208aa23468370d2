//! Exports that a client picks once it knows what was built.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use kiln_session::SessionError;

use crate::error::BuildError;
use crate::ops::source::session_error;
use crate::request::{Attributes, ExportRequest};

/// Picks exports of a finished result, beside those of the request.
#[async_trait]
pub trait LateExports: Send + Sync {
    /// The exports of a result with this metadata and these refs, one for each platform;
    /// `before` exports are there already.
    async fn pick(
        &self,
        metadata: BTreeMap<String, Bytes>,
        refs: Vec<String>,
        before: usize,
    ) -> Result<Vec<ExportRequest>, SessionError>;

    /// Hears what all exporters answered, at the very end.
    async fn finish(&self, response: &Attributes) -> Result<(), SessionError>;
}

/// The picked exports.
pub(crate) async fn pick(
    late: Option<&Arc<dyn LateExports>>,
    metadata: &BTreeMap<String, Bytes>,
    refs: Vec<String>,
    before: usize,
) -> Result<Vec<ExportRequest>, BuildError> {
    let Some(late) = late else {
        return Ok(Vec::new());
    };
    let picked = late.pick(metadata.clone(), refs, before).await;
    picked.map_err(session_error)
}

/// Tells the client how its exports ended.
pub(crate) async fn finish(
    late: Option<&Arc<dyn LateExports>>,
    response: &Attributes,
) -> Result<(), BuildError> {
    match late {
        Some(late) => late.finish(response).await.map_err(session_error),
        None => Ok(()),
    }
}
