//! A socket in front of another one that stops passing on what is sent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Passes so many bytes on to a server, then no more; its answers always.
pub(super) struct Proxy {
    pub(super) socket: PathBuf,
    stalled: Arc<Notify>,
    task: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Proxy {
    pub(super) fn new(server: &Path, bytes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("proxy.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let stalled = Arc::new(Notify::new());
        let (server, notify) = (server.to_owned(), stalled.clone());
        let left = Arc::new(AtomicUsize::new(bytes));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&server).await.unwrap();
                connections.spawn(pass(client, server, left.clone(), notify.clone()));
            }
        });
        Self {
            socket,
            stalled,
            task,
            _dir: dir,
        }
    }

    /// Waits until something was held back.
    pub(super) async fn stalled(&self) {
        self.stalled.notified().await;
    }

    /// Ends all connections.
    pub(super) fn end(self) {
        self.task.abort();
    }
}

async fn pass(
    client: UnixStream,
    server: UnixStream,
    left: Arc<AtomicUsize>,
    stalled: Arc<Notify>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = from_client.read(&mut buffer).await.unwrap_or(0);
            if length == 0 {
                return;
            }
            let take = |left: usize| left.checked_sub(length);
            if left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_err()
            {
                stalled.notify_one();
                std::future::pending::<()>().await;
            }
            if to_server.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    let down = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! {
        () = up => {}
        _ = down => {}
    }
}
