//! Loading an archive: a stream that goes straight to the engine.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::executor::block_on;
use futures::{Stream, StreamExt as _};
use http::Method;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use crate::DockerError;
use crate::answer::Answer;
use crate::connection::{Connector, reason, request};

const PATH: &str = "/images/load?quiet=1";
const WHAT: &str = "load the image";

/// Pieces that wait for the connection.
const QUEUE: usize = 4;
/// The longest piece.
const PIECE: usize = 1 << 20;

/// An archive on its way. Flushing it is the end: that waits until the engine has loaded it.
pub(crate) struct Load {
    pieces: Option<mpsc::Sender<Bytes>>,
    answer: Option<JoinHandle<Result<(), DockerError>>>,
    is_complete: Arc<AtomicBool>,
}

#[derive(Debug, thiserror::Error)]
#[error("the image was not completed")]
struct Abandoned;

impl Load {
    /// Begins to load; must be called within a tokio runtime.
    pub(crate) fn begin(connector: &Connector) -> Self {
        let (pieces, receiver) = mpsc::channel(QUEUE);
        let is_complete = Arc::new(AtomicBool::new(false));
        let answer = load(connector.clone(), receiver, Arc::clone(&is_complete));
        Self {
            pieces: Some(pieces),
            answer: Some(tokio::spawn(answer)),
            is_complete,
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.pieces = None;
        match self.answer.take().map(block_on) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(io::Error::other(error)),
            Some(Err(error)) => Err(io::Error::other(error)),
        }
    }
}

impl Write for Load {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        if let Some(pieces) = &self.pieces {
            if block_on(pieces.send(Bytes::copy_from_slice(piece))).is_ok() {
                return Ok(piece.len());
            }
            self.end()?;
        }
        Err(io::Error::new(
            io::ErrorKind::BrokenPipe,
            "the Docker engine takes no more of the image",
        ))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.is_complete.store(true, Ordering::Release);
        self.end()
    }
}

async fn load(
    connector: Connector,
    pieces: mpsc::Receiver<Bytes>,
    is_complete: Arc<AtomicBool>,
) -> Result<(), DockerError> {
    let body = StreamBody::new(body(pieces, is_complete));
    let request = request(Method::POST, PATH).body(body);
    let request = request.map_err(|error| DockerError::protocol(connector.socket(), error))?;
    let answer = connector.send(request).await?;
    let answer = connector.accepted(WHAT, answer).await?;
    let mut frames = answer.into_body().into_data_stream();
    let mut said = Answer::default();
    while let Some(bytes) = frames.next().await {
        let bytes =
            bytes.map_err(|error| DockerError::protocol(connector.socket(), reason(&error)))?;
        said.take(&bytes);
    }
    match said.failure() {
        None => Ok(()),
        Some(message) => Err(DockerError::Refused {
            socket: connector.socket().to_owned(),
            what: WHAT,
            message,
        }),
    }
}

/// What the engine gets: an archive that ends before it is complete breaks the connection, because its end would be
/// taken for that of the archive.
fn body(
    pieces: mpsc::Receiver<Bytes>,
    is_complete: Arc<AtomicBool>,
) -> impl Stream<Item = Result<Frame<Bytes>, Abandoned>> + Send + 'static {
    let end = futures::stream::once(async move { is_complete.load(Ordering::Acquire) });
    let abandoned = end.filter_map(|is_complete| async move {
        match is_complete {
            true => None,
            false => Some(Err(Abandoned)),
        }
    });
    ReceiverStream::new(pieces)
        .map(|piece| Ok(Frame::data(piece)))
        .chain(abandoned)
}
