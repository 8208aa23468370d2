//! The OTLP trace service: clients send the spans of their builds here.

use std::sync::Arc;

use kiln_protocol::otlp_collector::trace_service_server::{TraceService, TraceServiceServer};
use kiln_protocol::otlp_collector::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tonic::{Request, Response, Status};

use crate::control::Control;
use crate::serve::MAX_MESSAGE;

/// The trace service.
pub(crate) fn service(control: &Arc<Control>) -> TraceServiceServer<Traces> {
    TraceServiceServer::new(Traces(control.clone())).max_decoding_message_size(MAX_MESSAGE)
}

/// Takes spans.
pub(crate) struct Traces(Arc<Control>);

#[async_trait::async_trait]
impl TraceService for Traces {
    /// Never fails: no build shall fail for its traces.
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        let scopes = resources.iter().flat_map(|resource| &resource.scope_spans);
        let spans = scopes.map(|scope| scope.spans.len() as u64).sum();
        self.0.metrics.spans(spans);
        self.0.engine.history().add_spans(&resources);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
