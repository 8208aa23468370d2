//! gRPC over the sockets that were opened.

use std::future::pending;
use std::io;
use std::time::Duration;

use futures::Stream;
use futures::stream;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::life::Life;
use crate::listen::{ListenError, Listener, UnixSocket};

/// The largest message either way, as in upstream.
pub(crate) const MAX_MESSAGE: usize = 16 << 20;

/// Flow control: what may be on its way for one call and for one connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Calls at the same time on one connection.
const MAX_STREAMS: u32 = 1 << 16;

/// Headers of one call: those of a session list all its methods.
const MAX_HEADERS: u32 = 1 << 20;

/// How often a silent client is asked whether it is still there, and how long
/// it may think about that.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long to wait when the system has no room for another connection.
const NO_ROOM: Duration = Duration::from_millis(100);

/// Serves one socket until the daemon's life ends.
pub(crate) fn spawn(
    listener: Listener,
    routes: Routes,
    life: &Life,
) -> Result<JoinHandle<()>, ListenError> {
    let address = listener.address();
    let mut server = server();
    let life = life.clone();
    match listener {
        Listener::Unix(socket) => Ok(tokio::spawn(async move {
            let incoming = connections(socket, life.clone());
            let router = server.add_routes(routes);
            let served = router.serve_with_incoming_shutdown(incoming, life.ended());
            report(&address, served.await);
        })),
        Listener::Tcp(listener, tls) => {
            if let Some(tls) = tls {
                server = server
                    .tls_config(*tls)
                    .map_err(|error| ListenError::Address {
                        address: address.clone(),
                        reason: kiln_engine::error_chain(&error),
                    })?;
            }
            Ok(tokio::spawn(async move {
                let incoming = connections(listener, life.clone());
                let router = server.add_routes(routes);
                let served = router.serve_with_incoming_shutdown(incoming, life.ended());
                report(&address, served.await);
            }))
        }
    }
}

fn server() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_HEADERS)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
}

fn report(address: &str, served: Result<(), tonic::transport::Error>) {
    if let Err(error) = served {
        tracing::error!(%address, error = %kiln_engine::error_chain(&error), "stopped serving");
    }
}

/// What accepts connections.
trait Accept: Send + 'static {
    type Io: Send;

    fn accept_one(&self) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

impl Accept for UnixSocket {
    type Io = UnixStream;

    async fn accept_one(&self) -> io::Result<UnixStream> {
        self.accept().await
    }
}

impl Accept for TcpListener {
    type Io = TcpStream;

    async fn accept_one(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// The clients that connect. When the daemon stops, the socket is closed; but
/// the stream goes on, because its end would close the connections that builds
/// in flight still need.
fn connections<L: Accept>(listener: L, life: Life) -> impl Stream<Item = io::Result<L::Io>> {
    stream::unfold(Some(listener), move |listener| {
        let life = life.clone();
        async move {
            let Some(listener) = listener else {
                return pending().await;
            };
            loop {
                tokio::select! {
                    accepted = listener.accept_one() => match accepted {
                        Ok(connection) => return Some((Ok(connection), Some(listener))),
                        Err(error) => {
                            tracing::debug!(%error, "a client could not connect");
                            tokio::time::sleep(NO_ROOM).await;
                        }
                    },
                    () = life.stopping() => {
                        drop(listener);
                        return pending().await;
                    }
                }
            }
        }
    })
}
