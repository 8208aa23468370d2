//! One connection of the step: requests to any server, or a tunnel to one.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority as HostAndPort;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::exchange::{Answer, Origin, own};
use crate::proxy::Shared;
use crate::record::Reason;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const LONGEST_HEAD: usize = 64 << 10;
/// First byte of TLS.
const HANDSHAKE: u8 = 22;

/// Serves a connection to its end. Its `place` among the connections is free again after that, and after the
/// end of its tunnel.
pub(crate) async fn serve(shared: Arc<Shared>, stream: TcpStream, place: OwnedSemaphorePermit) {
    let place = Arc::new(place);
    let service = service_fn(|request: Request<Incoming>| {
        let (shared, place) = (Arc::clone(&shared), Arc::clone(&place));
        async move {
            Ok::<Answer, Infallible>(match *request.method() {
                Method::CONNECT => connect(&shared, request, place),
                _ => shared.exchanges.answer(request, &Origin::Named).await,
            })
        }
    });
    let connection = http().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.with_upgrades().await {
        tracing::debug!(%error, "a connection to a step's proxy ended");
    }
}

fn http() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(LONGEST_HEAD);
    builder
}

/// Agrees to a tunnel, whose near end is served as soon as the client has heard of it.
fn connect(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    place: Arc<OwnedSemaphorePermit>,
) -> Answer {
    let Some(target) = request.uri().authority().cloned() else {
        return own(StatusCode::BAD_REQUEST, "CONNECT needs a host and a port");
    };
    let inner = Arc::clone(shared);
    shared.spawn(async move {
        let _place = place;
        let stream = match hyper::upgrade::on(request).await {
            Ok(stream) => BufReader::new(TokioIo::new(stream)),
            Err(_) => return,
        };
        if let Err(error) = tunnel(&inner, stream, &target).await {
            tracing::debug!(%error, %target, "a tunnel of a step ended");
        }
    });
    Response::new(Either::Right(Full::new(Bytes::new())))
}

/// Is the far end of a tunnel. Some clients use tunnels for plain HTTP too: the first byte tells.
async fn tunnel(
    shared: &Arc<Shared>,
    mut stream: BufReader<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>,
    target: &HostAndPort,
) -> io::Result<()> {
    match timeout(PATIENCE, stream.fill_buf()).await??.first() {
        None => Ok(()),
        Some(&HANDSHAKE) => {
            let origin = format!("https://{target}");
            let host = target.host().trim_matches(['[', ']']);
            let config = shared.authority.serve_as(host).map_err(io::Error::other)?;
            let accept = TlsAcceptor::from(config).accept(stream);
            let accepted = timeout(PATIENCE, accept).await.map_err(io::Error::from);
            let stream = accepted.flatten().inspect_err(|_| {
                let ledger = &shared.exchanges.ledger;
                ledger.incomplete("CONNECT", &origin, Reason::TlsHandshakeFailed);
            })?;
            requests(shared, stream, Origin::Tunnel(origin)).await
        }
        Some(_) => requests(shared, stream, Origin::Tunnel(format!("http://{target}"))).await,
    }
}

/// Serves the requests in a tunnel.
async fn requests(
    shared: &Arc<Shared>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    origin: Origin,
) -> io::Result<()> {
    let service = service_fn(|request: Request<Incoming>| {
        let (shared, origin) = (Arc::clone(shared), origin.clone());
        async move {
            Ok::<Answer, Infallible>(match *request.method() {
                Method::CONNECT => own(StatusCode::METHOD_NOT_ALLOWED, "a tunnel in a tunnel"),
                _ => shared.exchanges.answer(request, &origin).await,
            })
        }
    });
    let connection = http().serve_connection(TokioIo::new(stream), service);
    connection.await.map_err(io::Error::other)
}
