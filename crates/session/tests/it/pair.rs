//! A client and a daemon that has nothing but sessions, joined by a socket or in memory.

use std::path::Path;

use futures::StreamExt as _;
use futures::stream::{BoxStream, Pending};
use hyper_util::rt::TokioIo;
use kiln_protocol::control;
use kiln_protocol::control::control_server::{Control, ControlServer};
use kiln_session::tunnel::OutboundStream;
use kiln_session::{RemoteSession, Services, SessionError, SessionHeaders, SessionId, Sessions};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

/// A connected pair. Dropping `client` makes the client vanish.
pub(crate) struct Pair {
    pub(crate) remote: RemoteSession,
    pub(crate) sessions: Sessions,
    pub(crate) client: AbortOnDropHandle<Result<(), SessionError>>,
    pub(crate) daemon: TestDaemon,
}

impl Pair {
    /// Joined in memory.
    pub(crate) async fn new(services: Services) -> Self {
        let daemon = TestDaemon::in_memory().await;
        let headers = SessionHeaders::new(SessionId::random());
        let id = headers.id.clone();
        let served = services.serve(daemon.channel.clone(), headers);
        Self::wait(daemon, id, served).await
    }

    /// Joined by a socket in `folder`.
    pub(crate) async fn over_socket(folder: &Path, services: Services) -> Self {
        let daemon = TestDaemon::on_socket(&folder.join("daemon.sock")).await;
        let headers = SessionHeaders::new(SessionId::random());
        let id = headers.id.clone();
        let served = services.serve(daemon.channel.clone(), headers);
        Self::wait(daemon, id, served).await
    }

    /// A client with services of the test's own.
    pub(crate) async fn with_routes(routes: Routes, methods: &[&str]) -> Self {
        let daemon = TestDaemon::in_memory().await;
        let mut headers = SessionHeaders::new(SessionId::random());
        headers.methods = methods.iter().map(|&method| method.to_owned()).collect();
        let id = headers.id.clone();
        let channel = daemon.channel.clone();
        let served = async move { kiln_session::tunnel::serve(channel, &headers, routes).await };
        Self::wait(daemon, id, served).await
    }

    async fn wait(
        daemon: TestDaemon,
        id: SessionId,
        served: impl Future<Output = Result<(), SessionError>> + Send + 'static,
    ) -> Self {
        let client = AbortOnDropHandle::new(tokio::spawn(served));
        let remote = daemon.sessions.get(id.as_str()).await.expect("session");
        Self {
            remote,
            sessions: daemon.sessions.clone(),
            client,
            daemon,
        }
    }
}

/// A client, and the connection to its services as it is.
pub(crate) struct RawPair {
    pub(crate) channel: Channel,
    _client: AbortOnDropHandle<Result<(), SessionError>>,
    _daemon: TestDaemon,
}

impl RawPair {
    pub(crate) async fn new(services: Services) -> Self {
        let (sender, mut channels) = mpsc::channel(1);
        let daemon = TestDaemon::in_memory_with(SessionsOnly {
            sessions: Sessions::default(),
            raw: Some(sender),
        })
        .await;
        let headers = SessionHeaders::new(SessionId::random());
        let served = services.serve(daemon.channel.clone(), headers);
        let client = AbortOnDropHandle::new(tokio::spawn(served));
        Self {
            channel: channels.recv().await.expect("channel"),
            _client: client,
            _daemon: daemon,
        }
    }
}

/// A daemon with sessions, and a way to it.
pub(crate) struct TestDaemon {
    pub(crate) sessions: Sessions,
    pub(crate) channel: Channel,
    _server: AbortOnDropHandle<()>,
}

impl TestDaemon {
    pub(crate) async fn in_memory() -> Self {
        Self::in_memory_with(SessionsOnly::default()).await
    }

    async fn in_memory_with(control: SessionsOnly) -> Self {
        let (here, there) = tokio::io::duplex(1 << 20);
        let incoming = futures::stream::once(std::future::ready(Ok::<_, std::io::Error>(there)));
        let mut here = Some(TokioIo::new(here));
        let connector = tower::service_fn(move |_| {
            let here = here.take();
            async move { here.ok_or_else(|| std::io::Error::other("one connection only")) }
        });
        let incoming = incoming.chain(futures::stream::pending());
        let (sessions, server) = Self::start(control, incoming);
        let endpoint = Endpoint::from_static("http://daemon");
        Self {
            sessions,
            channel: endpoint.connect_with_connector_lazy(connector),
            _server: server,
        }
    }

    pub(crate) async fn on_socket(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("bind");
        let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
        let (sessions, server) = Self::start(SessionsOnly::default(), incoming);
        let path = path.to_owned();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://daemon");
        let channel = endpoint.connect_with_connector(connector).await;
        Self {
            sessions,
            channel: channel.expect("connect"),
            _server: server,
        }
    }

    fn start<I>(
        control: SessionsOnly,
        incoming: impl futures::Stream<Item = std::io::Result<I>> + Send + 'static,
    ) -> (Sessions, AbortOnDropHandle<()>)
    where
        I: tokio::io::AsyncRead
            + tokio::io::AsyncWrite
            + tonic::transport::server::Connected
            + Unpin
            + Send
            + 'static,
    {
        let sessions = control.sessions.clone();
        let control = ControlServer::new(control);
        let serve = Server::builder()
            .add_service(control)
            .serve_with_incoming(incoming);
        let server = tokio::spawn(async move { serve.await.expect("serve") });
        (sessions, AbortOnDropHandle::new(server))
    }
}

#[derive(Default)]
struct SessionsOnly {
    sessions: Sessions,
    /// Where connections go, if they do not become sessions.
    raw: Option<mpsc::Sender<Channel>>,
}

type Nothing<T> = Pending<Result<T, Status>>;

fn refused<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("sessions only"))
}

#[tonic::async_trait]
impl Control for SessionsOnly {
    type PruneStream = Nothing<control::UsageRecord>;
    type StatusStream = Nothing<control::StatusResponse>;
    type SessionStream = OutboundStream;
    type ListenBuildHistoryStream = BoxStream<'static, Result<control::BuildHistoryEvent, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<control::BytesMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (metadata, _, inbound) = request.into_parts();
        let Some(raw) = self.raw.clone() else {
            return Ok(Response::new(self.sessions.accept(&metadata, inbound)?));
        };
        let (accepted, outbound) = kiln_session::tunnel::accept(inbound);
        tokio::spawn(async move {
            let (channel, _closed) = accepted.connect().await.expect("connect");
            raw.send(channel).await.expect("test");
        });
        Ok(Response::new(outbound))
    }

    async fn disk_usage(
        &self,
        _: Request<control::DiskUsageRequest>,
    ) -> Result<Response<control::DiskUsageResponse>, Status> {
        refused()
    }

    async fn prune(
        &self,
        _: Request<control::PruneRequest>,
    ) -> Result<Response<Self::PruneStream>, Status> {
        refused()
    }

    async fn solve(
        &self,
        _: Request<control::SolveRequest>,
    ) -> Result<Response<control::SolveResponse>, Status> {
        refused()
    }

    async fn status(
        &self,
        _: Request<control::StatusRequest>,
    ) -> Result<Response<Self::StatusStream>, Status> {
        refused()
    }

    async fn list_workers(
        &self,
        _: Request<control::ListWorkersRequest>,
    ) -> Result<Response<control::ListWorkersResponse>, Status> {
        refused()
    }

    async fn info(
        &self,
        _: Request<control::InfoRequest>,
    ) -> Result<Response<control::InfoResponse>, Status> {
        refused()
    }

    async fn listen_build_history(
        &self,
        _: Request<control::BuildHistoryRequest>,
    ) -> Result<Response<Self::ListenBuildHistoryStream>, Status> {
        refused()
    }

    async fn update_build_history(
        &self,
        _: Request<control::UpdateBuildHistoryRequest>,
    ) -> Result<Response<control::UpdateBuildHistoryResponse>, Status> {
        refused()
    }
}
