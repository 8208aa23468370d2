//! The gRPC service: each call is handed to the conversation that it is part
//! of.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::Stream;
use kiln_llb::platform;
use kiln_protocol::frontend::{
    EvaluateRequest, EvaluateResponse, ExecMessage, FileRange, InputsRequest, InputsResponse,
    NewContainerRequest, NewContainerResponse, PingRequest, PongResponse, ReadDirRequest,
    ReadDirResponse, ReadFileRequest, ReadFileResponse, ReleaseContainerRequest,
    ReleaseContainerResponse, ResolveImageConfigRequest, ResolveImageConfigResponse,
    ResolveSourceMetaRequest, ResolveSourceMetaResponse, ReturnRequest, ReturnResponse,
    SolveRequest, SolveResponse, StatFileRequest, StatFileResponse, WarnRequest, WarnResponse,
    llb_bridge_server::LlbBridge,
};
use kiln_protocol::types::WorkerRecord;
use kiln_store::tree::Root;
use tonic::{Request, Response, Status, Streaming};

use super::{Gateway, containers, features, files, returned, solve, warning};
use crate::engine::blocking;
use crate::error::BuildError;
use crate::lost::Need;
use crate::tree;

/// `LLBBridge` over one build. Cheap to clone.
#[derive(Clone)]
pub struct LlbBridgeService(Arc<Gateway>);

/// Where files are looked at.
enum Place<'a> {
    /// In the result of this id.
    Result(&'a str),
    /// In a mount of the container of this id, by the mount's number.
    Container(&'a str, i32),
}

impl std::fmt::Debug for LlbBridgeService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = self.0.bridge.job.id();
        f.debug_tuple("LlbBridgeService").field(id).finish()
    }
}

impl LlbBridgeService {
    pub(crate) fn new(gateway: Arc<Gateway>) -> Self {
        Self(gateway)
    }

    /// What `work` comes to, unless the build ends meanwhile.
    async fn answer<T>(
        &self,
        work: impl Future<Output = Result<T, BuildError>>,
    ) -> Result<T, Status> {
        let work = async { work.await.map_err(|error| self.0.status(&error)) };
        self.0.answer(work).await
    }

    /// Looks into the files of a place.
    async fn look<T: Send + 'static>(
        &self,
        place: Place<'_>,
        look: impl FnOnce(&Root) -> Result<T, BuildError> + Send + 'static,
    ) -> Result<T, Status> {
        let gateway = &self.0;
        let worker = gateway.bridge.engine.worker.clone();
        match place {
            Place::Result(id) => {
                let reference = gateway.refs.get(id)?;
                let looked = async {
                    let output = reference.output(Need::Files).await?;
                    blocking(move || look(&tree::open(&worker.store, output.as_ref())?.root)).await
                };
                self.answer(looked).await
            }
            Place::Container(id, mount) => {
                let container = gateway.containers.get(id)?;
                let looked = blocking(move || container.look(&worker.store, mount, look));
                self.answer(looked).await
            }
        }
    }

    async fn read(
        &self,
        place: Place<'_>,
        path: String,
        range: Option<FileRange>,
    ) -> Result<Response<ReadFileResponse>, Status> {
        let read = move |root: &Root| files::read(root, &path, range);
        let data = self.look(place, read).await?;
        Ok(Response::new(ReadFileResponse { data }))
    }

    async fn list(
        &self,
        place: Place<'_>,
        path: String,
        pattern: String,
    ) -> Result<Response<ReadDirResponse>, Status> {
        let list = move |root: &Root| files::list(root, &path, &pattern);
        let entries = self.look(place, list).await?;
        Ok(Response::new(ReadDirResponse { entries }))
    }

    async fn stat(
        &self,
        place: Place<'_>,
        path: String,
    ) -> Result<Response<StatFileResponse>, Status> {
        let stat = move |root: &Root| files::stat(root, &path);
        let stat = Some(self.look(place, stat).await?);
        Ok(Response::new(StatFileResponse { stat }))
    }
}

#[async_trait]
impl LlbBridge for LlbBridgeService {
    type ExecProcessStream = Pin<Box<dyn Stream<Item = Result<ExecMessage, Status>> + Send>>;

    async fn resolve_image_config(
        &self,
        request: Request<ResolveImageConfigRequest>,
    ) -> Result<Response<ResolveImageConfigResponse>, Status> {
        let resolved = self.0.resolve_image_config(request.into_inner());
        self.answer(resolved).await.map(Response::new)
    }

    async fn resolve_source_meta(
        &self,
        request: Request<ResolveSourceMetaRequest>,
    ) -> Result<Response<ResolveSourceMetaResponse>, Status> {
        let resolved = self.0.resolve_source_meta(request.into_inner());
        self.answer(resolved).await.map(Response::new)
    }

    async fn solve(
        &self,
        request: Request<SolveRequest>,
    ) -> Result<Response<SolveResponse>, Status> {
        let solved = solve::solve(&self.0, request.into_inner());
        self.0.answer(solved).await.map(Response::new)
    }

    async fn read_file(
        &self,
        request: Request<ReadFileRequest>,
    ) -> Result<Response<ReadFileResponse>, Status> {
        let request = request.into_inner();
        let place = Place::Result(&request.r#ref);
        self.read(place, request.file_path, request.range).await
    }

    async fn read_dir(
        &self,
        request: Request<ReadDirRequest>,
    ) -> Result<Response<ReadDirResponse>, Status> {
        let request = request.into_inner();
        let place = Place::Result(&request.r#ref);
        self.list(place, request.dir_path, request.include_pattern)
            .await
    }

    async fn stat_file(
        &self,
        request: Request<StatFileRequest>,
    ) -> Result<Response<StatFileResponse>, Status> {
        let request = request.into_inner();
        let place = Place::Result(&request.r#ref);
        self.stat(place, request.path).await
    }

    async fn evaluate(
        &self,
        request: Request<EvaluateRequest>,
    ) -> Result<Response<EvaluateResponse>, Status> {
        let held = self.0.refs.get(&request.into_inner().r#ref)?;
        let evaluated = async {
            held.output(Need::Nothing).await?;
            Ok(EvaluateResponse {})
        };
        self.answer(evaluated).await.map(Response::new)
    }

    async fn ping(&self, _request: Request<PingRequest>) -> Result<Response<PongResponse>, Status> {
        let engine = &self.0.bridge.engine;
        let worker = WorkerRecord {
            id: engine.worker_info.id.clone(),
            labels: engine.worker_info.labels.clone(),
            platforms: vec![platform::to_pb(&engine.worker.platform)],
            ..WorkerRecord::default()
        };
        Ok(Response::new(PongResponse {
            frontend_api_caps: features::api(),
            llb_caps: features::llb(),
            workers: vec![worker],
        }))
    }

    async fn r#return(
        &self,
        request: Request<ReturnRequest>,
    ) -> Result<Response<ReturnResponse>, Status> {
        returned::take(&self.0, request.into_inner())?;
        Ok(Response::new(ReturnResponse {}))
    }

    async fn inputs(
        &self,
        _request: Request<InputsRequest>,
    ) -> Result<Response<InputsResponse>, Status> {
        let inputs = self.0.inputs.clone().into_iter();
        Ok(Response::new(InputsResponse {
            definitions: inputs.map(|(name, it)| (name, it.to_wire())).collect(),
        }))
    }

    async fn new_container(
        &self,
        request: Request<NewContainerRequest>,
    ) -> Result<Response<NewContainerResponse>, Status> {
        let made = containers::create(&self.0, request.into_inner());
        self.0.answer(made).await?;
        Ok(Response::new(NewContainerResponse {}))
    }

    async fn release_container(
        &self,
        request: Request<ReleaseContainerRequest>,
    ) -> Result<Response<ReleaseContainerResponse>, Status> {
        let id = request.into_inner().container_id;
        self.0.containers.release(&id).await?;
        Ok(Response::new(ReleaseContainerResponse {}))
    }

    async fn exec_process(
        &self,
        request: Request<Streaming<ExecMessage>>,
    ) -> Result<Response<Self::ExecProcessStream>, Status> {
        let messages = containers::converse(self.0.clone(), request.into_inner());
        Ok(Response::new(messages))
    }

    async fn read_file_container(
        &self,
        request: Request<ReadFileRequest>,
    ) -> Result<Response<ReadFileResponse>, Status> {
        let request = request.into_inner();
        let place = Place::Container(&request.r#ref, request.mount_index);
        self.read(place, request.file_path, request.range).await
    }

    async fn read_dir_container(
        &self,
        request: Request<ReadDirRequest>,
    ) -> Result<Response<ReadDirResponse>, Status> {
        let request = request.into_inner();
        let place = Place::Container(&request.r#ref, request.mount_index);
        self.list(place, request.dir_path, request.include_pattern)
            .await
    }

    async fn stat_file_container(
        &self,
        request: Request<StatFileRequest>,
    ) -> Result<Response<StatFileResponse>, Status> {
        let request = request.into_inner();
        let place = Place::Container(&request.r#ref, request.mount_index);
        self.stat(place, request.path).await
    }

    async fn warn(&self, request: Request<WarnRequest>) -> Result<Response<WarnResponse>, Status> {
        warning::send(&self.0, request.into_inner());
        Ok(Response::new(WarnResponse {}))
    }
}
