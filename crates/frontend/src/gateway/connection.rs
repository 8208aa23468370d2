//! gRPC over standard input and output: the engine at the other end is the server.

use std::io;

use hyper_util::rt::TokioIo;
use kiln_protocol::frontend::llb_bridge_client::LlbBridgeClient;
use tonic::transport::{Channel, Endpoint};

use super::GatewayError;

/// Largest message, BuildKit's.
const MAX_MESSAGE: usize = 16 << 20;

/// How much the engine may send before it is told to go on.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Connects to the engine, which can be done once.
pub(super) async fn connect() -> Result<LlbBridgeClient<Channel>, GatewayError> {
    let ends = tokio::io::join(tokio::io::stdin(), tokio::io::stdout());
    let mut ends = Some(TokioIo::new(ends));
    let connector = tower::service_fn(move |_| {
        let ends = ends.take();
        async move { ends.ok_or_else(|| io::Error::other("the connection to the engine is lost")) }
    });
    let endpoint = Endpoint::from_static("http://localhost")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let channel = endpoint.connect_with_connector(connector).await;
    let channel = channel.map_err(GatewayError::Connect)?;
    Ok(LlbBridgeClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE))
}
