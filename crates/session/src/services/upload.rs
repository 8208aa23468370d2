//! Gives a daemon the bodies of URLs that stand for streams of the client.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use kiln_protocol::upload::BytesMessage;
use kiln_protocol::upload::upload_server::Upload;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::remote::UPLOAD_PATH;

/// What is read at once.
const PIECE: usize = 256 << 10;

/// Pieces that wait for the connection.
const QUEUE: usize = 4;

type Body = Box<dyn Read + Send>;

pub(super) struct Bodies {
    by_id: Mutex<BTreeMap<String, Body>>,
}

impl Bodies {
    pub(super) fn new(by_id: BTreeMap<String, Body>) -> Self {
        Self {
            by_id: Mutex::new(by_id),
        }
    }

    fn take(&self, id: &str) -> Result<Body, Status> {
        let mut bodies = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let body = bodies.remove(id);
        body.ok_or_else(|| Status::not_found(format!("no http response from session for {id}")))
    }
}

#[tonic::async_trait]
impl Upload for Bodies {
    type PullStream = BoxStream<'static, Result<BytesMessage, Status>>;

    async fn pull(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let path = request.metadata().get(UPLOAD_PATH);
        let path = path.and_then(|path| path.to_str().ok()).unwrap_or_default();
        let id = path.rsplit('/').next().unwrap_or_default();
        let body = self.take(id)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::task::spawn_blocking(move || read(body, &sender));
        let pieces = ReceiverStream::new(receiver);
        let pieces = pieces.map(|piece| piece.map(|data| BytesMessage { data }));
        Ok(Response::new(pieces.boxed()))
    }
}

/// Reads until the body ends or nobody listens.
fn read(mut body: Body, pieces: &mpsc::Sender<Result<Bytes, Status>>) {
    let mut buffer = vec![0; PIECE];
    loop {
        let piece = match body.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => Ok(Bytes::copy_from_slice(&buffer[..length])),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => Err(Status::aborted(format!("cannot read body: {error}"))),
        };
        let is_last = piece.is_err();
        if futures::executor::block_on(pieces.send(piece)).is_err() || is_last {
            return;
        }
    }
}
