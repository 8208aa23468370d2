//! An export that is one stream of bytes, written on the client's side.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::executor::block_on;
use futures::{Stream, StreamExt as _};
use http::uri::PathAndQuery;
use kiln_protocol::filesync::BytesMessage;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};
use tonic_prost::{ProstCodec, ProstDecoder};

use super::Calls;
use crate::tunnel::{MESSAGE_LIMIT, PIECE};
use crate::{SessionError, headers};

const METHOD: &str = "/moby.filesync.v1.FileSend/DiffCopy";

/// Which of the build's outputs is meant, and what goes along with it.
pub(crate) const EXPORTER: &str = "buildkit-attachable-exporter-id";
pub(crate) const ABOUT: &str = "exporter-md-";

/// Pieces that wait for the connection.
const QUEUE: usize = 8;

/// A stream to a client. It blocks, so it must be used outside of async code.
/// Flushing it is the end: it returns once the client has everything in its place.
/// Without that, the client is told that the output is incomplete.
#[derive(Debug)]
pub struct ExportStream {
    state: State,
    is_complete: Arc<AtomicBool>,
}

#[derive(Debug)]
enum State {
    Open {
        pieces: mpsc::Sender<Bytes>,
        answer: JoinHandle<Result<(), SessionError>>,
    },
    /// The client has the output already and takes none of it.
    Unwanted,
    Ended,
}

impl ExportStream {
    pub(super) fn open(
        calls: &Calls,
        exporter: usize,
        about: &BTreeMap<String, String>,
    ) -> Result<Self, SessionError> {
        calls.require(METHOD)?;
        let is_complete = Arc::new(AtomicBool::new(false));
        let (pieces, receiver) = mpsc::channel(QUEUE);
        let mut request = Request::new(outbound(receiver, Arc::clone(&is_complete)));
        let metadata = request.metadata_mut();
        metadata.insert(EXPORTER, exporter.into());
        for (key, text) in about {
            let key = headers::key(&format!("{ABOUT}{key}"))?;
            metadata.insert(key, headers::value(ABOUT, text)?);
        }
        let calls = calls.clone();
        let answer = tokio::spawn(async move {
            let sent = send(&calls, request);
            calls.ask("output on the client's side", sent).await
        });
        Ok(Self {
            state: State::Open { pieces, answer },
            is_complete,
        })
    }

    /// Waits for the client's word on what it has got.
    fn end(&mut self) -> io::Result<()> {
        let State::Open { pieces, answer } = std::mem::replace(&mut self.state, State::Ended)
        else {
            return Ok(());
        };
        drop(pieces);
        match block_on(answer) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(SessionError::Refused {
                code: Code::AlreadyExists,
                ..
            })) => {
                self.state = State::Unwanted;
                Ok(())
            }
            Ok(Err(error)) => Err(io::Error::other(error)),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl Write for ExportStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        if let State::Open { pieces, .. } = &self.state {
            if block_on(pieces.send(Bytes::copy_from_slice(piece))).is_ok() {
                return Ok(piece.len());
            }
            self.end()?;
        }
        match self.state {
            State::Unwanted => Ok(bytes.len()),
            State::Open { .. } | State::Ended => Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the client takes no more of this output",
            )),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.is_complete.store(true, Ordering::Release);
        self.end()
    }
}

/// One call, until the client has everything.
async fn send(
    calls: &Calls,
    request: Request<impl Stream<Item = Piece> + Send + 'static>,
) -> Result<(), Status> {
    let mut client = Grpc::new(calls.channel()).max_decoding_message_size(MESSAGE_LIMIT);
    let ready = client.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static(METHOD);
    let answer = client.streaming(request, path, PieceCodec).await?;
    let mut inbound = answer.into_inner();
    while inbound.message().await?.is_some() {}
    Ok(())
}

/// What the client gets: an output that ends before it is complete ends with an error.
fn outbound(
    pieces: mpsc::Receiver<Bytes>,
    is_complete: Arc<AtomicBool>,
) -> impl Stream<Item = Piece> + Send + 'static {
    let end = futures::stream::once(async move { is_complete.load(Ordering::Acquire) });
    let abandoned = end.filter_map(|is_complete| async move {
        match is_complete {
            true => None,
            false => Some(Piece::Abandoned),
        }
    });
    ReceiverStream::new(pieces)
        .map(Piece::Data)
        .chain(abandoned)
}

enum Piece {
    Data(Bytes),
    Abandoned,
}

/// The messages of the call. An abandoned piece cannot be encoded, which is what resets
/// the call; ending it would look like the end of the output.
struct PieceCodec;

impl Codec for PieceCodec {
    type Encode = Piece;
    type Decode = BytesMessage;
    type Encoder = PieceEncoder;
    type Decoder = ProstDecoder<BytesMessage>;

    fn encoder(&mut self) -> Self::Encoder {
        PieceEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<BytesMessage, BytesMessage>::default().decoder()
    }
}

struct PieceEncoder;

impl Encoder for PieceEncoder {
    type Item = Piece;
    type Error = Status;

    fn encode(&mut self, piece: Piece, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        match piece {
            Piece::Data(data) => BytesMessage { data }
                .encode(buffer)
                .map_err(|error| Status::internal(error.to_string())),
            Piece::Abandoned => Err(Status::cancelled("the output was not completed")),
        }
    }
}
