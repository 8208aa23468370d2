//! HTTP over the socket of an engine: one connection for each request.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::{Address, DockerError};

/// How long the engine may take for a question.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Answers are read as a whole.
const LIMIT: usize = 64 << 20;

/// Errors of answers are read in part.
const ERROR_LIMIT: usize = 64 << 10;

/// Makes connections to one engine.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    socket: Arc<Path>,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

impl Connector {
    pub(crate) fn new(address: &Address) -> Self {
        Self {
            socket: address.path().into(),
        }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) async fn dial(&self) -> Result<UnixStream, DockerError> {
        let connected = UnixStream::connect(&self.socket).await;
        connected.map_err(|error| DockerError::connect(&self.socket, error))
    }

    /// Sends a request on a connection of its own, which may become another protocol's.
    pub(crate) async fn send<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<Incoming>, DockerError>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Send + 'static,
    {
        let failed = |error: hyper::Error| DockerError::protocol(&self.socket, reason(&error));
        let stream = TokioIo::new(self.dial().await?);
        let (mut sender, connection) = http1::handshake(stream).await.map_err(failed)?;
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await.map_err(failed)
    }

    /// Asks a question.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
    ) -> Result<T, DockerError> {
        let asked = async {
            let request = request(Method::GET, path).body(Empty::new());
            let request = request.map_err(|error| DockerError::protocol(&self.socket, error))?;
            let answer = self.accepted(what, self.send(request).await?).await?;
            let body = Limited::new(answer.into_body(), LIMIT).collect().await;
            let body = body.map_err(|error| DockerError::protocol(&self.socket, error))?;
            let read = serde_json::from_slice(&body.to_bytes());
            read.map_err(|error| DockerError::protocol(&self.socket, error))
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(DockerError::protocol(
                &self.socket,
                format!("no answer within {} s", PATIENCE.as_secs()),
            )),
        }
    }

    /// The answer, unless it is a refusal.
    pub(crate) async fn accepted(
        &self,
        what: &'static str,
        answer: Response<Incoming>,
    ) -> Result<Response<Incoming>, DockerError> {
        let status = answer.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(answer);
        }
        let body = Limited::new(answer.into_body(), ERROR_LIMIT)
            .collect()
            .await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let message = match serde_json::from_slice::<Message>(&body) {
            Ok(Message { message }) => message,
            Err(_) => format!("{status}: {}", String::from_utf8_lossy(&body).trim()),
        };
        Err(DockerError::Refused {
            socket: self.socket.to_path_buf(),
            what,
            message,
        })
    }
}

/// A request to the engine; the socket is its host.
pub(crate) fn request(method: Method, path: &str) -> http::request::Builder {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(HOST, "docker");
    request.header(CONTENT_TYPE, "application/x-tar")
}

/// The text of an error with its causes.
pub(crate) fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
