//! gRPC over a process's standard input and output: the process is the
//! client, we are the server.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use kiln_protocol::frontend::llb_bridge_server::LlbBridgeServer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, SimplexStream, WriteHalf};
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::LlbBridgeService;

/// Bytes that may wait between us and the process.
const BUFFER: usize = 256 << 10;

/// Largest message, BuildKit's.
pub(crate) const MAX_MESSAGE: usize = 16 << 20;

/// How much the other side may send before it is told to go on: wide enough
/// for files.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Chunks that may wait in a process's output.
const QUEUE: usize = 16;

/// The process's ends.
pub(super) struct ProcessEnds {
    pub(super) stdin: ReadHalf<SimplexStream>,
    pub(super) stdout: mpsc::Sender<Bytes>,
    /// Told when the connection is over.
    pub(super) closed: CancellationToken,
}

/// Our end, a connection like any other.
pub(super) struct Connection {
    from_process: Pin<Box<dyn AsyncRead + Send>>,
    to_process: WriteHalf<SimplexStream>,
    _closed: DropGuard,
}

/// Both ends of a connection.
pub(super) fn connect() -> (Connection, ProcessEnds) {
    let (stdin, to_process) = tokio::io::simplex(BUFFER);
    let (stdout, mut chunks) = mpsc::channel::<Bytes>(QUEUE);
    let chunks = stream::poll_fn(move |cx| chunks.poll_recv(cx));
    let closed = CancellationToken::new();
    let connection = Connection {
        from_process: Box::pin(StreamReader::new(chunks.map(Ok::<_, io::Error>))),
        to_process,
        _closed: closed.clone().drop_guard(),
    };
    let ends = ProcessEnds {
        stdin,
        stdout,
        closed,
    };
    (connection, ends)
}

/// Serves the one connection. Never ends by itself.
pub(super) async fn serve(
    service: LlbBridgeService,
    connection: Connection,
) -> Result<(), tonic::transport::Error> {
    let service = LlbBridgeServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(service)
        .serve_with_incoming(lone(connection))
        .await
}

/// One connection and never another.
fn lone(connection: Connection) -> impl Stream<Item = io::Result<Connection>> {
    stream::iter([Ok(connection)]).chain(stream::pending())
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.from_process.as_mut().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.to_process).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to_process).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to_process).poll_shutdown(cx)
    }
}
