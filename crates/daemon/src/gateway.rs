//! The LLBBridge service: clients that drive their builds themselves. Each call
//! names its build and is handed to it.

use std::sync::Arc;

use kiln_engine::LlbBridgeService;
use kiln_protocol::frontend as wire;
use kiln_protocol::frontend::llb_bridge_server::{LlbBridge, LlbBridgeServer};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::control::Control;
use crate::serve::MAX_MESSAGE;

/// The header that names the build.
const BUILD: &str = "buildkit-controlapi-buildid";

/// The service.
pub(crate) fn service(control: &Arc<Control>) -> LlbBridgeServer<Gateway> {
    LlbBridgeServer::new(Gateway(control.clone()))
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
}

/// Finds the build of each call.
pub(crate) struct Gateway(Arc<Control>);

impl Gateway {
    async fn build(&self, metadata: &MetadataMap) -> Result<LlbBridgeService, Status> {
        let id = metadata.get(BUILD).and_then(|id| id.to_str().ok());
        let id = id.ok_or_else(|| {
            Status::invalid_argument("no buildid found in context: the call names no build")
        })?;
        let bridge = self.0.engine.llb_bridge(id).await;
        bridge.ok_or_else(|| Status::not_found(format!("no such job {id}")))
    }
}

#[async_trait::async_trait]
impl LlbBridge for Gateway {
    type ExecProcessStream = <LlbBridgeService as LlbBridge>::ExecProcessStream;

    async fn exec_process(
        &self,
        request: Request<Streaming<wire::ExecMessage>>,
    ) -> Result<Response<Self::ExecProcessStream>, Status> {
        let build = self.build(request.metadata()).await?;
        build.exec_process(request).await
    }

    async fn resolve_image_config(
        &self,
        request: Request<wire::ResolveImageConfigRequest>,
    ) -> Result<Response<wire::ResolveImageConfigResponse>, Status> {
        let build = self.build(request.metadata()).await?;
        build.resolve_image_config(request).await
    }

    async fn resolve_source_meta(
        &self,
        request: Request<wire::ResolveSourceMetaRequest>,
    ) -> Result<Response<wire::ResolveSourceMetaResponse>, Status> {
        let build = self.build(request.metadata()).await?;
        build.resolve_source_meta(request).await
    }

    async fn solve(
        &self,
        request: Request<wire::SolveRequest>,
    ) -> Result<Response<wire::SolveResponse>, Status> {
        let build = self.build(request.metadata()).await?;
        build.solve(request).await
    }

    async fn read_file(
        &self,
        request: Request<wire::ReadFileRequest>,
    ) -> Result<Response<wire::ReadFileResponse>, Status> {
        let build = self.build(request.metadata()).await?;
        build.read_file(request).await
    }

    async fn read_dir(
        &self,
        request: Request<wire::ReadDirRequest>,
    ) -> Result<Response<wire::ReadDirResponse>, Status> {
        let build = self.build(request.metadata()).await?;
        build.read_dir(request).await
    }

    async fn stat_file(
        &self,
        request: Request<wire::StatFileRequest>,
    ) -> Result<Response<wire::StatFileResponse>, Status> {
        let build = self.build(request.metadata()).await?;
        build.stat_file(request).await
    }

    async fn evaluate(
        &self,
        request: Request<wire::EvaluateRequest>,
    ) -> Result<Response<wire::EvaluateResponse>, Status> {
        let build = self.build(request.metadata()).await?;
        build.evaluate(request).await
    }

    async fn ping(
        &self,
        request: Request<wire::PingRequest>,
    ) -> Result<Response<wire::PongResponse>, Status> {
        let build = self.build(request.metadata()).await?;
        build.ping(request).await
    }

    async fn r#return(
        &self,
        request: Request<wire::ReturnRequest>,
    ) -> Result<Response<wire::ReturnResponse>, Status> {
        let build = self.build(request.metadata()).await?;
        build.r#return(request).await
    }

    async fn inputs(
        &self,
        request: Request<wire::InputsRequest>,
    ) -> Result<Response<wire::InputsResponse>, Status> {
        let build = self.build(request.metadata()).await?;
        build.inputs(request).await
    }

    async fn new_container(
        &self,
        request: Request<wire::NewContainerRequest>,
    ) -> Result<Response<wire::NewContainerResponse>, Status> {
        let build = self.build(request.metadata()).await?;
        build.new_container(request).await
    }

    async fn release_container(
        &self,
        request: Request<wire::ReleaseContainerRequest>,
    ) -> Result<Response<wire::ReleaseContainerResponse>, Status> {
        let build = self.build(request.metadata()).await?;
        build.release_container(request).await
    }

    async fn read_file_container(
        &self,
        request: Request<wire::ReadFileRequest>,
    ) -> Result<Response<wire::ReadFileResponse>, Status> {
        let build = self.build(request.metadata()).await?;
        build.read_file_container(request).await
    }

    async fn read_dir_container(
        &self,
        request: Request<wire::ReadDirRequest>,
    ) -> Result<Response<wire::ReadDirResponse>, Status> {
        let build = self.build(request.metadata()).await?;
        build.read_dir_container(request).await
    }

    async fn stat_file_container(
        &self,
        request: Request<wire::StatFileRequest>,
    ) -> Result<Response<wire::StatFileResponse>, Status> {
        let build = self.build(request.metadata()).await?;
        build.stat_file_container(request).await
    }

    async fn warn(
        &self,
        request: Request<wire::WarnRequest>,
    ) -> Result<Response<wire::WarnResponse>, Status> {
        let build = self.build(request.metadata()).await?;
        build.warn(request).await
    }
}
