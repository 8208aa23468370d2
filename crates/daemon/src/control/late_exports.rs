//! Exports that the client of a session picks once its result is there.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use kiln_engine::{Attributes, ExportRequest, LateExports};
use kiln_protocol::control::Exporter;
use kiln_session::{RemoteSession, SessionError};
use tonic::Code;

use super::export;

/// The exporter service of a client.
pub(super) struct SessionExports(pub(super) RemoteSession);

#[async_trait]
impl LateExports for SessionExports {
    async fn pick(
        &self,
        metadata: BTreeMap<String, Bytes>,
        refs: Vec<String>,
        before: usize,
    ) -> Result<Vec<ExportRequest>, SessionError> {
        let exporters = self.0.exporters();
        if !exporters.are_served() {
            return Ok(Vec::new());
        }
        let picked = match exporters.find(metadata, refs).await {
            Ok(picked) => picked.into_iter(),
            // A client may have nothing to pick.
            Err(SessionError::Refused {
                code: Code::Unavailable | Code::Unimplemented,
                ..
            }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let exporters = picked.map(|exporter| Exporter {
            r#type: exporter.kind,
            attrs: exporter.attributes,
        });
        let requests = export::requests(exporters.collect(), before, Some(&self.0));
        requests.map_err(|status| SessionError::Refused {
            what: "exporters of the client".into(),
            code: status.code(),
            message: status.message().to_owned(),
        })
    }

    async fn finish(&self, response: &Attributes) -> Result<(), SessionError> {
        self.0.exporters().finalize(response.clone()).await
    }
}
