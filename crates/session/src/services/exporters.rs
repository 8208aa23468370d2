//! Tells a daemon which exporters to run on a result.

use std::sync::Arc;

use kiln_protocol::exporter::{
    ExporterRequest, FinalizeExportRequest, FinalizeExportResponse, FindExportersRequest,
    FindExportersResponse, exporter_server,
};
use tonic::{Request, Response, Status};

use crate::PickExporters;

pub(super) struct Picker(pub(super) Arc<dyn PickExporters>);

#[tonic::async_trait]
impl exporter_server::Exporter for Picker {
    async fn find_exporters(
        &self,
        request: Request<FindExportersRequest>,
    ) -> Result<Response<FindExportersResponse>, Status> {
        let request = request.into_inner();
        let picked = self.0.pick(request.metadata, request.refs).await;
        let exporters = picked.map_err(Status::from)?.into_iter();
        let exporters = exporters.map(|exporter| ExporterRequest {
            r#type: exporter.kind,
            attrs: exporter.attributes,
        });
        Ok(Response::new(FindExportersResponse {
            exporters: exporters.collect(),
        }))
    }

    async fn finalize_export(
        &self,
        request: Request<FinalizeExportRequest>,
    ) -> Result<Response<FinalizeExportResponse>, Status> {
        let response = request.into_inner().exporter_response;
        self.0.finish(response).await.map_err(Status::from)?;
        Ok(Response::new(FinalizeExportResponse {}))
    }
}
