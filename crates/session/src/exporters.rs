//! A client that picks the exporters of a build once it knows the result.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::SessionError;

/// One exporter that the client wants to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PickedExporter {
    /// Such as `image`.
    pub kind: String,
    /// Its options.
    pub attributes: BTreeMap<String, String>,
}

/// Picks exporters.
#[async_trait::async_trait]
pub trait PickExporters: Send + Sync {
    /// The exporters for a result with this metadata and these refs, one for each platform.
    async fn pick(
        &self,
        metadata: BTreeMap<String, Bytes>,
        refs: Vec<String>,
    ) -> Result<Vec<PickedExporter>, SessionError>;

    /// Hears what all exporters answered.
    async fn finish(&self, response: BTreeMap<String, String>) -> Result<(), SessionError>;
}
