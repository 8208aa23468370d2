//! A web server, with or without TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{any, get, post};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// Bytes of one piece of [`flood`].
const PIECE: usize = 64 << 10;

/// A server on a free port of the loopback interface.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
}

impl Origin {
    pub(crate) async fn plain() -> Origin {
        Origin::serve(None).await
    }

    /// One with TLS, and the authority to trust for it.
    pub(crate) async fn secure() -> (Origin, String) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(names).unwrap();
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        (Origin::serve(Some(acceptor)).await, issuer.pem())
    }

    async fn serve(tls: Option<TlsAcceptor>) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        Origin { address, scheme }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        routes().oneshot(request.map(Body::new))
    });
    let connection = hyper::server::conn::http1::Builder::new();
    let _ = connection
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn routes() -> Router {
    let to =
        |target: &'static str| get(move || async move { (StatusCode::FOUND, location(target)) });
    Router::new()
        .route("/hello", get(|| async { "hello\n" }))
        .route("/other", get(|| async { "other\n" }))
        .route("/empty", get(|| async { StatusCode::NO_CONTENT }))
        .route("/redirect", to("/hello"))
        .route("/chain", to("redirect"))
        .route(
            "/broken",
            get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "broken\n") }),
        )
        .route("/range", get(range))
        .route("/headers", any(headers))
        .route(
            "/upload",
            post(|body: Body| async { count(body).await.to_string() }),
        )
        .route("/flood/{mebibytes}", get(flood))
        .fallback(|uri: Uri| async move { (StatusCode::NOT_FOUND, format!("no {uri}\n")) })
}

fn location(target: &'static str) -> AppendHeaders<[(header::HeaderName, &'static str); 1]> {
    AppendHeaders([(header::LOCATION, target)])
}

async fn range(headers: HeaderMap) -> Response {
    match headers.get(header::RANGE) {
        Some(_) => (StatusCode::PARTIAL_CONTENT, "ell").into_response(),
        None => "hello\n".into_response(),
    }
}

/// What arrived, a header a line; and headers that go no further.
async fn headers(uri: Uri, headers: HeaderMap) -> Response {
    let mut lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
        .collect();
    lines.sort();
    let named = [
        ("connection", "x-own"),
        ("x-own", "1"),
        ("keep-alive", "timeout=5"),
        ("x-kept", "2"),
    ];
    (AppendHeaders(named), format!("{uri}\n{}", lines.concat())).into_response()
}

async fn count(body: Body) -> usize {
    use tokio_stream::StreamExt;
    let pieces = body.into_data_stream();
    pieces
        .fold(0, |sum, piece| sum + piece.unwrap().len())
        .await
}

async fn flood(axum::extract::Path(mebibytes): axum::extract::Path<usize>) -> Response {
    Body::from_stream(pieces(mebibytes)).into_response()
}

/// So much of nothing, without its length.
pub(crate) fn pieces(
    mebibytes: usize,
) -> impl tokio_stream::Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    let piece = Bytes::from(vec![0; PIECE]);
    tokio_stream::iter((0..mebibytes * (1 << 20) / PIECE).map(move |_| Ok(piece.clone())))
}

/// A server for one request.
pub(crate) struct Talker {
    pub(crate) url: String,
    /// It has the request.
    pub(crate) asked: oneshot::Receiver<()>,
    /// The client has hung up.
    pub(crate) gone: oneshot::Receiver<()>,
}

/// A server that reads the head of a request, says `text`, and then hangs up or waits for the client to do so.
pub(crate) async fn talk(text: &'static str, then: Then) -> Talker {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/talk", listener.local_addr().unwrap());
    let ((tell_asked, asked), (tell_gone, gone)) = (oneshot::channel(), oneshot::channel());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let _ = tell_asked.send(());
        stream.write_all(text.as_bytes()).await.unwrap();
        if then == Then::Wait {
            // Nothing more is sent to us: this is the end.
            let _ = stream.read_u8().await;
            let _ = tell_gone.send(());
        }
    });
    Talker { url, asked, gone }
}

/// What a server does after its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    HangUp,
    Wait,
}
