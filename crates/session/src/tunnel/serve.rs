//! The client's end of the tunnel.

use futures::StreamExt as _;
use kiln_protocol::control::control_client::ControlClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::service::Routes;
use tonic::transport::{Channel, Server};

use super::io::TunnelIo;
use super::{CONNECTION_WINDOW, FRAME, MESSAGE_LIMIT, QUEUE, STREAM_WINDOW};
use crate::{SessionError, SessionHeaders};

/// Opens a session on a daemon and serves `routes` in it until the daemon or the connection
/// ends it, or the future is dropped.
pub async fn serve(
    daemon: Channel,
    headers: &SessionHeaders,
    routes: Routes,
) -> Result<(), SessionError> {
    let (sender, outbound) = mpsc::channel(QUEUE);
    let mut request = Request::new(ReceiverStream::new(outbound));
    headers.put(request.metadata_mut())?;
    let mut control = ControlClient::new(daemon).max_decoding_message_size(MESSAGE_LIMIT);
    let answer = control.session(request).await;
    let answer = answer.map_err(|status| SessionError::Refused {
        what: "session".into(),
        code: status.code(),
        message: status.message().to_owned(),
    })?;
    let closed = CancellationToken::new();
    let io = TunnelIo::new(answer.into_inner().boxed(), sender, closed.clone());
    // The connection is served by a task of its own, which ends with the connection.
    let _end = closed.clone().drop_guard();
    let incoming = futures::stream::once(std::future::ready(Ok::<_, std::io::Error>(io)));
    let served = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .add_routes(routes)
        .serve_with_incoming(incoming.chain(futures::stream::pending()));
    tokio::select! {
        served = served => served.map_err(|error| SessionError::Malformed {
            what: "session".into(),
            reason: error.to_string(),
        }),
        () = closed.cancelled() => Ok(()),
    }
}
