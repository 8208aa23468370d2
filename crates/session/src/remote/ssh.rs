//! SSH agents of a connected client, as sockets on this machine.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kiln_protocol::sshforward::ssh_client::SshClient;
use kiln_protocol::sshforward::{BytesMessage, CheckAgentRequest};
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Request};

use super::Calls;
use crate::relay;
use crate::tunnel::MESSAGE_LIMIT;
use crate::{SessionError, SocketOwner, Ssh, SshSocket, headers};

pub(crate) const AGENT_ID: &str = "buildkit.ssh.id";
pub(crate) const DEFAULT_ID: &str = "default";

/// Connections that one step may have open at once.
const MOST_CONNECTIONS: usize = 64;

/// Between attempts to take a connection when the machine has no room for one.
const RETRY: Duration = Duration::from_millis(50);

/// Pieces that wait for the connection.
const QUEUE: usize = 8;

pub(super) struct RemoteSsh(pub(super) Calls);

#[async_trait::async_trait]
impl Ssh for RemoteSsh {
    async fn agent(&self, id: &str) -> Result<Option<Box<dyn SshSocket>>, SessionError> {
        if !self.0.serves("/moby.sshforward.v1.SSH/CheckAgent") {
            return Ok(None);
        }
        let id = if id.is_empty() { DEFAULT_ID } else { id };
        let mut client = SshClient::new(self.0.channel());
        let call = client.check_agent(CheckAgentRequest { id: id.to_owned() });
        match self.0.ask(&format!("SSH agent {id}"), call).await {
            Ok(_) => {}
            Err(SessionError::Refused { code, message, .. }) if is_unknown(code, &message) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let socket = RelaySocket::open(self.0.clone(), id.to_owned())?;
        Ok(Some(Box::new(socket)))
    }
}

/// Clients say that there is no such agent in words only.
fn is_unknown(code: Code, message: &str) -> bool {
    matches!(code, Code::Unimplemented | Code::NotFound)
        || message.contains("unset ssh forward key")
}

/// A socket whose connections go to the client's agent.
struct RelaySocket {
    directory: TempDir,
    _server: AbortOnDropHandle<()>,
}

impl RelaySocket {
    fn open(calls: Calls, id: String) -> Result<Self, SessionError> {
        let failed = |source| SessionError::Path {
            path: std::env::temp_dir(),
            source,
        };
        let directory = tempfile::Builder::new()
            .prefix(".kiln-ssh-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(failed)?;
        let listener = UnixListener::bind(socket_path(&directory)).map_err(failed)?;
        let server = tokio::spawn(serve(listener, calls, id));
        Ok(Self {
            directory,
            _server: AbortOnDropHandle::new(server),
        })
    }
}

fn socket_path(directory: &TempDir) -> PathBuf {
    directory.path().join("agent")
}

impl SshSocket for RelaySocket {
    fn path(&self) -> PathBuf {
        socket_path(&self.directory)
    }

    fn give_to(&self, owner: SocketOwner) -> Result<(), SessionError> {
        let path = self.path();
        let given = std::os::unix::fs::chown(&path, Some(owner.uid), Some(owner.gid))
            .and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(owner.mode)));
        given.map_err(|source| SessionError::Path { path, source })
    }
}

async fn serve(listener: UnixListener, calls: Calls, id: String) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let connection = tokio::select! {
            () = calls.closed() => return,
            connection = listener.accept() => connection,
        };
        // What can fail here passes, such as too many open files.
        let Ok((connection, _)) = connection else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let (calls, id) = (calls.clone(), id.clone());
        connections.spawn(async move {
            let _permit = permit;
            if let Err(error) = forward(connection, &calls, &id).await {
                tracing::debug!(%error, "SSH agent connection failed");
            }
        });
    }
}

/// Carries one connection to the client and back until either side ends it.
async fn forward(connection: UnixStream, calls: &Calls, id: &str) -> Result<(), SessionError> {
    let (reader, mut writer) = connection.into_split();
    let (sender, receiver) = mpsc::channel(QUEUE);
    let pieces =
        futures::StreamExt::map(ReceiverStream::new(receiver), |data| BytesMessage { data });
    let mut request = Request::new(pieces);
    let id = headers::value(AGENT_ID, id)?;
    request.metadata_mut().insert(AGENT_ID, id);
    let mut client = SshClient::new(calls.channel()).max_decoding_message_size(MESSAGE_LIMIT);
    let download = calls.ask("SSH agent", async {
        let mut inbound = client.forward_agent(request).await?.into_inner();
        while let Some(message) = inbound.message().await? {
            if !relay::write(&mut writer, &message.data).await {
                break;
            }
        }
        Ok(())
    });
    // The answer's end is the end; the step may have ended its side long before.
    let upload = async {
        relay::read(reader, sender).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = download => ended,
        () = upload => Ok(()),
    }
}
