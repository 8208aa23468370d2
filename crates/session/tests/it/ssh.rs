//! SSH agents over a session.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_session::{Services, SessionError, SocketOwner, SocketProtocol, Ssh, SshSocket};
use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::task::AbortOnDropHandle;

use crate::pair::Pair;

struct Socket(PathBuf, SocketProtocol);

impl SshSocket for Socket {
    fn path(&self) -> PathBuf {
        self.0.clone()
    }

    fn protocol(&self) -> SocketProtocol {
        self.1
    }
}

/// Lends `default` as an agent and `raw` as any socket.
struct Agents(PathBuf);

#[async_trait::async_trait]
impl Ssh for Agents {
    async fn agent(&self, id: &str) -> Result<Option<Box<dyn SshSocket>>, SessionError> {
        let protocol = match id {
            "default" => SocketProtocol::Agent,
            "raw" => SocketProtocol::Raw,
            _ => return Ok(None),
        };
        Ok(Some(Box::new(Socket(self.0.clone(), protocol))))
    }
}

/// Says everything back.
fn echo(path: &Path) -> AbortOnDropHandle<()> {
    let listener = UnixListener::bind(path).expect("bind");
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.expect("accept");
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                while let Ok(length @ 1..) = connection.read(&mut buffer).await {
                    connection
                        .write_all(&buffer[..length])
                        .await
                        .expect("write");
                }
            });
        }
    }))
}

struct Setup {
    pair: Pair,
    folder: tempfile::TempDir,
    _agent: AbortOnDropHandle<()>,
}

async fn setup() -> Setup {
    let folder = tempfile::tempdir().expect("dir");
    let path = folder.path().join("agent.sock");
    let agent = echo(&path);
    let services = Services {
        ssh: Some(Arc::new(Agents(path))),
        ..Services::default()
    };
    let pair = Pair::over_socket(folder.path(), services).await;
    Setup {
        pair,
        folder,
        _agent: agent,
    }
}

async fn open(setup: &Setup, id: &str) -> Box<dyn SshSocket> {
    let agent = setup.pair.remote.session().ssh.agent(id).await;
    agent.expect("agent").expect("an agent")
}

/// Says something, ends its own side, and listens to the end.
async fn converse(socket: &dyn SshSocket, bytes: &[u8]) -> Vec<u8> {
    let mut connection = UnixStream::connect(socket.path()).await.expect("connect");
    connection.write_all(bytes).await.expect("write");
    connection.shutdown().await.expect("shutdown");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.expect("read");
    answer
}

const LIST: &[u8] = &[0, 0, 0, 1, 11];
const SIGN: &[u8] = &[0, 0, 0, 4, 13, 1, 2, 3];
const FAILURE: &[u8] = &[0, 0, 0, 1, 5];

#[rstest]
#[case::list("", LIST, LIST)]
#[case::sign("default", SIGN, SIGN)]
#[case::add("default", &[0, 0, 0, 2, 17, 0], FAILURE)]
#[case::remove_all("default", &[0, 0, 0, 1, 19], FAILURE)]
#[case::lock("default", &[0, 0, 0, 1, 22], FAILURE)]
#[case::extension("default", &[0, 0, 0, 1, 27], FAILURE)]
#[case::nothing("default", &[0, 0, 0, 0], FAILURE)]
#[case::cut("default", &[0, 0, 0, 9, 11], &[])]
#[case::endless("default", &[255, 255, 255, 255, 11], &[])]
#[case::raw("raw", b"any bytes", b"any bytes")]
#[tokio::test]
async fn only_listing_and_signing_pass(
    #[case] id: &str,
    #[case] request: &[u8],
    #[case] expected: &[u8],
) {
    let setup = setup().await;
    let socket = open(&setup, id).await;
    assert_eq!(converse(&*socket, request).await, expected);
}

#[tokio::test]
async fn many_requests_and_connections_are_kept_in_order() {
    let setup = setup().await;
    let socket = open(&setup, "default").await;
    let requests = [LIST, &[0, 0, 0, 1, 18], SIGN, LIST].concat();
    let expected = [LIST, FAILURE, SIGN, LIST].concat();
    for _ in 0..100 {
        assert_eq!(converse(&*socket, &requests).await, expected);
    }
    let large = vec![b'z'; 3 << 20];
    let raw = open(&setup, "raw").await;
    let mut connection = UnixStream::connect(raw.path()).await.expect("connect");
    let (mut reader, mut writer) = connection.split();
    let mut answer = vec![0; large.len()];
    let (written, read) = tokio::join!(writer.write_all(&large), reader.read_exact(&mut answer));
    written.expect("write");
    read.expect("read");
    assert!(answer == large);
}

#[tokio::test]
async fn the_socket_is_the_steps_own() {
    let setup = setup().await;
    let socket = open(&setup, "default").await;
    let path = socket.path();
    assert!(
        !path.starts_with(setup.folder.path()),
        "a socket of the daemon"
    );
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    let owner = SocketOwner {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
        mode: 0o640,
    };
    socket.give_to(owner).expect("give");
    let metadata = std::fs::metadata(&path).expect("metadata");
    assert_eq!(
        (metadata.uid(), metadata.permissions().mode() & 0o777),
        (owner.uid, 0o640)
    );
    let folder = path.parent().expect("folder").to_owned();
    let mode = std::fs::metadata(&folder)
        .expect("metadata")
        .permissions()
        .mode();
    assert_eq!(
        mode & 0o777,
        0o700,
        "others on this machine must not reach it"
    );
    drop(socket);
    assert!(!folder.exists(), "nothing is left behind");
}

#[tokio::test]
async fn unknown_agents_are_none() {
    let setup = setup().await;
    let ssh = setup.pair.remote.session().ssh;
    assert!(ssh.agent("other").await.expect("answer").is_none());
    let without = Pair::new(Services::default()).await;
    let ssh = without.remote.session().ssh;
    assert!(ssh.agent("default").await.expect("answer").is_none());
}

#[tokio::test]
async fn a_connection_ends_when_the_client_leaves() {
    let setup = setup().await;
    let socket = open(&setup, "raw").await;
    let mut connection = UnixStream::connect(socket.path()).await.expect("connect");
    connection.write_all(b"ping").await.expect("write");
    let mut answer = [0; 4];
    connection.read_exact(&mut answer).await.expect("echo");
    drop(setup.pair.client);
    let mut rest = Vec::new();
    connection.read_to_end(&mut rest).await.expect("end");
    assert!(rest.is_empty());
}
