//! Forwards connections to SSH agents of the client.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use kiln_protocol::sshforward::{BytesMessage, CheckAgentRequest, CheckAgentResponse, ssh_server};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::StreamReader;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::agent;
use crate::remote::{AGENT_ID, DEFAULT_ID};
use crate::{SocketProtocol, Ssh, SshSocket, relay};

/// Pieces that wait for the connection.
const QUEUE: usize = 8;

pub(super) struct Agents(pub(super) Arc<dyn Ssh>);

impl Agents {
    async fn open(&self, id: &str) -> Result<Box<dyn SshSocket>, Status> {
        let socket = self.0.agent(id).await.map_err(Status::from)?;
        socket.ok_or_else(|| Status::unknown(format!("unset ssh forward key {id}")))
    }
}

#[tonic::async_trait]
impl ssh_server::Ssh for Agents {
    type ForwardAgentStream = BoxStream<'static, Result<BytesMessage, Status>>;

    async fn check_agent(
        &self,
        request: Request<CheckAgentRequest>,
    ) -> Result<Response<CheckAgentResponse>, Status> {
        self.open(or_default(&request.get_ref().id)).await?;
        Ok(Response::new(CheckAgentResponse {}))
    }

    async fn forward_agent(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::ForwardAgentStream>, Status> {
        let id = or_default(asked_id(request.metadata())).to_owned();
        let socket = self.open(&id).await?;
        let connection = UnixStream::connect(socket.path()).await;
        let connection = connection
            .map_err(|error| Status::unavailable(format!("failed to dial agent {id}: {error}")))?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(carry(socket, connection, request.into_inner(), sender));
        let answers = ReceiverStream::new(receiver).map(|data| Ok(BytesMessage { data }));
        Ok(Response::new(answers.boxed()))
    }
}

fn asked_id(metadata: &MetadataMap) -> &str {
    let id = metadata.get(AGENT_ID).and_then(|id| id.to_str().ok());
    id.unwrap_or_default()
}

fn or_default(id: &str) -> &str {
    if id.is_empty() { DEFAULT_ID } else { id }
}

/// Carries one connection until the agent ends it or the daemon is gone.
async fn carry(
    socket: Box<dyn SshSocket>,
    connection: UnixStream,
    inbound: Streaming<BytesMessage>,
    answers: mpsc::Sender<Bytes>,
) {
    let requests = inbound.map(|message| {
        message
            .map(|message| message.data)
            .map_err(io::Error::other)
    });
    let mut requests = StreamReader::new(requests);
    if socket.protocol() == SocketProtocol::Agent {
        if let Err(error) = agent::proxy(requests, connection, answers).await {
            tracing::debug!(%error, "SSH agent connection failed");
        }
        return;
    }
    let (reader, mut writer) = connection.into_split();
    let upload = async {
        let _ = tokio::io::copy_buf(&mut requests, &mut writer).await;
        drop(writer);
        // The daemon has said all; the socket's answer may still come.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = relay::read(reader, answers) => {}
        () = upload => {}
    }
}
