//! A daemon that answers what a test tells it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use futures::stream::BoxStream;
use kiln_client::{Address, Client, ConnectOptions};
use kiln_protocol::control::control_server::{Control, ControlServer};
use kiln_protocol::control::{
    BuildHistoryEvent, BuildHistoryRequest, BytesMessage, DiskUsageRequest, DiskUsageResponse,
    InfoRequest, InfoResponse, ListWorkersRequest, ListWorkersResponse, PruneRequest, SolveRequest,
    SolveResponse, StatusRequest, StatusResponse, UpdateBuildHistoryRequest,
    UpdateBuildHistoryResponse, UsageRecord,
};
use kiln_protocol::types::{BuildkitVersion, WorkerRecord};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// What the daemon answers, and what it was asked.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) records: Vec<UsageRecord>,
    pub(crate) solve: Mutex<Option<Result<SolveResponse, Status>>>,
    pub(crate) news: Vec<StatusResponse>,
    pub(crate) events: Vec<BuildHistoryEvent>,
    pub(crate) solved: Mutex<Vec<SolveRequest>>,
    pub(crate) pruned: Mutex<Vec<PruneRequest>>,
    pub(crate) updated: Mutex<Vec<UpdateBuildHistoryRequest>>,
}

/// A running daemon; stops when dropped.
pub(crate) struct Daemon {
    pub(crate) script: Arc<Script>,
    pub(crate) dir: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Daemon {
    /// Serves the script on a unix socket.
    pub(crate) fn start(script: Script) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = Arc::new(script);
        let listener = UnixListener::bind(socket(dir.path())).unwrap();
        let service = ControlServer::new(Scripted(script.clone()));
        let serving = Server::builder()
            .add_service(service)
            .serve_with_incoming(UnixListenerStream::new(listener));
        let task = tokio::spawn(async move { serving.await.unwrap() });
        Self { script, dir, task }
    }

    pub(crate) fn address(&self) -> Address {
        Address::Unix(socket(self.dir.path()))
    }

    pub(crate) async fn client(&self) -> Client {
        let options = ConnectOptions::default();
        Client::connect(&self.address(), &options).await.unwrap()
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("daemon.sock")
}

/// The service.
pub(crate) struct Scripted(pub(crate) Arc<Script>);

type Stream<T> = BoxStream<'static, Result<T, Status>>;

fn stream<T: Send + Clone + 'static>(items: &[T]) -> Response<Stream<T>> {
    let items = items.iter().cloned().map(Ok).collect::<Vec<_>>();
    Response::new(futures::stream::iter(items).boxed())
}

#[tonic::async_trait]
impl Control for Scripted {
    type PruneStream = Stream<UsageRecord>;
    type StatusStream = Stream<StatusResponse>;
    type SessionStream = Stream<BytesMessage>;
    type ListenBuildHistoryStream = Stream<BuildHistoryEvent>;

    async fn disk_usage(
        &self,
        _: Request<DiskUsageRequest>,
    ) -> Result<Response<DiskUsageResponse>, Status> {
        let record = self.0.records.clone();
        Ok(Response::new(DiskUsageResponse { record }))
    }

    async fn prune(
        &self,
        request: Request<PruneRequest>,
    ) -> Result<Response<Self::PruneStream>, Status> {
        self.0.pruned.lock().unwrap().push(request.into_inner());
        Ok(stream(&self.0.records))
    }

    async fn solve(
        &self,
        request: Request<SolveRequest>,
    ) -> Result<Response<SolveResponse>, Status> {
        self.0.solved.lock().unwrap().push(request.into_inner());
        let answer = self.0.solve.lock().unwrap().take();
        match answer {
            Some(answer) => answer.map(Response::new),
            None => std::future::pending().await,
        }
    }

    async fn status(
        &self,
        _: Request<StatusRequest>,
    ) -> Result<Response<Self::StatusStream>, Status> {
        Ok(stream(&self.0.news))
    }

    async fn session(
        &self,
        inbound: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        // A daemon that never calls: it only keeps the session open.
        let silent = inbound
            .into_inner()
            .filter_map(|_| std::future::ready(None));
        Ok(Response::new(silent.boxed()))
    }

    async fn list_workers(
        &self,
        request: Request<ListWorkersRequest>,
    ) -> Result<Response<ListWorkersResponse>, Status> {
        let worker = WorkerRecord {
            id: request.into_inner().filter.join("+"),
            ..WorkerRecord::default()
        };
        let record = vec![worker];
        Ok(Response::new(ListWorkersResponse { record }))
    }

    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let version = BuildkitVersion {
            version: "v9".into(),
            ..BuildkitVersion::default()
        };
        Ok(Response::new(InfoResponse {
            buildkit_version: Some(version),
        }))
    }

    async fn listen_build_history(
        &self,
        _: Request<BuildHistoryRequest>,
    ) -> Result<Response<Self::ListenBuildHistoryStream>, Status> {
        Ok(stream(&self.0.events))
    }

    async fn update_build_history(
        &self,
        request: Request<UpdateBuildHistoryRequest>,
    ) -> Result<Response<UpdateBuildHistoryResponse>, Status> {
        self.0.updated.lock().unwrap().push(request.into_inner());
        Ok(Response::new(UpdateBuildHistoryResponse {}))
    }
}
