//! A client that picks the exporters of a finished build.

use std::collections::BTreeMap;

use bytes::Bytes;
use kiln_protocol::exporter::exporter_client::ExporterClient;
use kiln_protocol::exporter::{FinalizeExportRequest, FindExportersRequest};
use tonic::Code;
use tonic::transport::Channel;

use super::Calls;
use crate::tunnel::MESSAGE_LIMIT;
use crate::{PickedExporter, SessionError};

/// The client's exporter service.
#[derive(Clone, Debug)]
pub struct RemoteExporters {
    calls: Calls,
}

impl RemoteExporters {
    pub(super) fn new(calls: Calls) -> Self {
        Self { calls }
    }

    /// Whether the client has the service.
    pub fn are_served(&self) -> bool {
        self.calls
            .serves("/moby.exporter.v1.Exporter/FindExporters")
    }

    /// The exporters for a result with this metadata and these refs (one per platform).
    pub async fn find(
        &self,
        metadata: BTreeMap<String, Bytes>,
        refs: Vec<String>,
    ) -> Result<Vec<PickedExporter>, SessionError> {
        self.calls
            .require("/moby.exporter.v1.Exporter/FindExporters")?;
        let mut client = self.client();
        let call = client.find_exporters(FindExportersRequest { metadata, refs });
        let found = self.calls.ask("exporters of the client", call).await?;
        let picked = found.into_inner().exporters.into_iter();
        let picked = picked.map(|exporter| PickedExporter {
            kind: exporter.r#type,
            attributes: exporter.attrs,
        });
        Ok(picked.collect())
    }

    /// Tells the client what its exporters answered. Clients that do not care are fine.
    pub async fn finalize(&self, response: BTreeMap<String, String>) -> Result<(), SessionError> {
        if !self
            .calls
            .serves("/moby.exporter.v1.Exporter/FinalizeExport")
        {
            return Ok(());
        }
        let mut client = self.client();
        let call = client.finalize_export(FinalizeExportRequest {
            exporter_response: response,
        });
        match self.calls.ask("end of the client's export", call).await {
            Ok(_)
            | Err(SessionError::Refused {
                code: Code::Unimplemented,
                ..
            }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn client(&self) -> ExporterClient<Channel> {
        ExporterClient::new(self.calls.channel()).max_decoding_message_size(MESSAGE_LIMIT)
    }
}
