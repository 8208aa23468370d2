//! An HTTP/2 connection inside the bidirectional stream of the `Session` call.
//!
//! The client opens the call, and is the server on the connection within; the
//! daemon is its client. [`accept`] is the daemon's end, [`serve`] the client's.

mod io;
mod serve;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use hyper_util::rt::TokioIo;
use kiln_protocol::control::BytesMessage;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::SessionError;

pub use serve::serve;

use io::TunnelIo;

/// The largest gRPC message that either side takes.
pub const MESSAGE_LIMIT: usize = 16 << 20;

/// The largest piece of bytes that is put into one message. The field's clients
/// take 4 MiB.
pub(crate) const PIECE: usize = 1 << 20;

/// How much may be on its way in one stream, and in all of them.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
const FRAME: u32 = 256 << 10;

/// Messages that wait for the outer call to take them.
const QUEUE: usize = 16;

/// How long a client may take to answer the first bytes of the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that has opened a session, before the connection within is made.
pub struct Accepted {
    io: TunnelIo,
    closed: CancellationToken,
}

/// What the daemon answers the `Session` call with. The session ends when this is dropped.
pub struct OutboundStream {
    messages: mpsc::Receiver<BytesMessage>,
    closed: CancellationToken,
    _session: DropGuard,
}

impl Stream for OutboundStream {
    type Item = Result<BytesMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // What comes after a client's end confuses clients of the field, and is for nobody.
        if self.closed.is_cancelled() {
            return Poll::Ready(None);
        }
        self.messages.poll_recv(cx).map(|message| message.map(Ok))
    }
}

/// The daemon's end: turns the inbound messages of a `Session` call into the
/// connection to the client's services. The answer must be returned from the call
/// before [`Accepted::connect`] can succeed.
pub fn accept(
    inbound: impl Stream<Item = Result<BytesMessage, Status>> + Send + 'static,
) -> (Accepted, OutboundStream) {
    let closed = CancellationToken::new();
    let (sender, messages) = mpsc::channel(QUEUE);
    let accepted = Accepted {
        io: TunnelIo::new(inbound.boxed(), sender, closed.clone()),
        closed: closed.clone(),
    };
    let outbound = OutboundStream {
        messages,
        closed: closed.clone(),
        _session: closed.drop_guard(),
    };
    (accepted, outbound)
}

impl Accepted {
    /// Makes the connection, over which the client's services are called, and the token
    /// that tells of its end and ends it.
    pub async fn connect(self) -> Result<(Channel, CancellationToken), SessionError> {
        // There is one connection and no way to make another: whoever asks a second
        // time has lost the client.
        let mut io = Some(TokioIo::new(self.io));
        let connector = tower::service_fn(move |_| {
            let io = io.take();
            async move { io.ok_or_else(|| std::io::Error::other("the session's connection is lost")) }
        });
        let endpoint = Endpoint::from_static("http://localhost")
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .connect_timeout(CONNECT_TIMEOUT);
        let connected = endpoint.connect_with_connector(connector).await;
        let channel = connected.map_err(|error| SessionError::Malformed {
            what: "session".into(),
            reason: format!("cannot connect to the client's services: {error}"),
        })?;
        Ok((channel, self.closed))
    }
}
