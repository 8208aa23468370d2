//! The Control service: what clients ask of a daemon.

mod build;
mod errors;
mod export;
mod late_exports;
mod plan;
mod request;
mod status;
mod usage;

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use kiln_engine::{BuildError, Engine};
use kiln_protocol::control::control_server::{self, ControlServer};
use kiln_protocol::control::{
    BuildHistoryEvent, BuildHistoryRequest, BytesMessage, DiskUsageRequest, DiskUsageResponse,
    InfoRequest, InfoResponse, ListWorkersRequest, ListWorkersResponse, PruneRequest, SolveRequest,
    SolveResponse, StatusRequest, StatusResponse, UpdateBuildHistoryRequest,
    UpdateBuildHistoryResponse, UsageRecord,
};
use kiln_protocol::planner::PlanResponse;
use kiln_protocol::planner::planner_server::{self, PlannerServer};
use kiln_session::Sessions;
use kiln_store::filter::Filters;
use tonic::{Request, Response, Status, Streaming};

use crate::history;
use crate::life::Life;
use crate::metrics::Metrics;
use crate::serve::MAX_MESSAGE;
use crate::settings::Settings;
use crate::worker::{Worker, buildkit_version};

pub(crate) use status::with_clock;

/// A stream of answers.
pub(crate) type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// Everything that calls of clients need.
pub(crate) struct Control {
    pub(crate) engine: Engine,
    pub(crate) life: Life,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) sessions: Sessions,
    /// The first does all builds.
    workers: Vec<Worker>,
    terms: request::Terms,
}

impl Control {
    /// The state behind the service.
    pub(crate) fn new(
        engine: Engine,
        settings: &Settings,
        workers: Vec<Worker>,
        life: Life,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            engine,
            life,
            metrics,
            sessions: Sessions::default(),
            workers,
            terms: request::Terms {
                allowed: settings.allowed.clone(),
                network: settings.network,
            },
        }
    }

    /// The service.
    pub(crate) fn service(control: &Arc<Self>) -> ControlServer<Service> {
        ControlServer::new(Service(control.clone()))
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    /// Applies the rules of garbage collection now, and says how many records
    /// are gone.
    pub(crate) async fn collect_garbage(&self) -> Result<usize, BuildError> {
        Ok(self.engine.collect_garbage().await?.len())
    }
}

/// The calls, each of which is in a module of its own.
pub(crate) struct Service(Arc<Control>);

impl Control {
    /// The service that makes plans of builds.
    pub(crate) fn planner(control: &Arc<Self>) -> PlannerServer<Service> {
        PlannerServer::new(Service(control.clone())).max_decoding_message_size(MAX_MESSAGE)
    }
}

#[async_trait::async_trait]
impl planner_server::Planner for Service {
    async fn plan(&self, request: Request<SolveRequest>) -> Result<Response<PlanResponse>, Status> {
        plan::plan(&self.0, request.into_inner()).await
    }
}

#[async_trait::async_trait]
impl control_server::Control for Service {
    type PruneStream = Answers<UsageRecord>;
    type StatusStream = Answers<StatusResponse>;
    type SessionStream = Answers<BytesMessage>;
    type ListenBuildHistoryStream = Answers<BuildHistoryEvent>;

    async fn disk_usage(
        &self,
        request: Request<DiskUsageRequest>,
    ) -> Result<Response<DiskUsageResponse>, Status> {
        usage::disk_usage(&self.0, request.into_inner()).await
    }

    async fn prune(
        &self,
        request: Request<PruneRequest>,
    ) -> Result<Response<Self::PruneStream>, Status> {
        usage::prune(&self.0, request.into_inner()).await
    }

    async fn solve(
        &self,
        request: Request<SolveRequest>,
    ) -> Result<Response<SolveResponse>, Status> {
        build::solve(&self.0, request).await
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<Self::StatusStream>, Status> {
        status::status(&self.0, request.into_inner()).await
    }

    async fn session(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (metadata, _, inbound) = request.into_parts();
        let outbound = self.0.sessions.accept(&metadata, inbound);
        let outbound = outbound.map_err(|error| errors::session(&error))?;
        Ok(Response::new(outbound.boxed()))
    }

    async fn list_workers(
        &self,
        request: Request<ListWorkersRequest>,
    ) -> Result<Response<ListWorkersResponse>, Status> {
        let filters = Filters::parse(&request.into_inner().filter);
        let filters = filters.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let workers = self.0.workers.iter();
        let matching = workers.filter(|worker| worker.matches(&filters));
        let devices = self.0.engine.devices().await;
        let devices = devices.map_err(|error| errors::status(&error))?.devices;
        let record = matching.map(|worker| worker.record(&devices)).collect();
        Ok(Response::new(ListWorkersResponse { record }))
    }

    async fn info(&self, _request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        Ok(Response::new(InfoResponse {
            buildkit_version: Some(buildkit_version()),
        }))
    }

    async fn listen_build_history(
        &self,
        request: Request<BuildHistoryRequest>,
    ) -> Result<Response<Self::ListenBuildHistoryStream>, Status> {
        history::listen(&self.0, request.into_inner()).await
    }

    async fn update_build_history(
        &self,
        request: Request<UpdateBuildHistoryRequest>,
    ) -> Result<Response<UpdateBuildHistoryResponse>, Status> {
        history::update(&self.0, request.into_inner()).await
    }
}
