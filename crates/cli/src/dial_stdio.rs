//! `buildctl dial-stdio`: standard input and output as a connection to the
//! daemon's socket, for clients on the other side of `docker exec` or `ssh`.

use kiln_client::Address;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use crate::arguments::DaemonArguments;
use crate::failure::Failure;
use crate::{connection, root, target};

pub(crate) fn run(arguments: &DaemonArguments) -> Result<(), Failure> {
    let address = target::daemon_of(arguments)?;
    let Address::Unix(socket) = &address else {
        return Err(Failure::usage(format!(
            "invalid address {address} (expected unix://)"
        )));
    };
    root::block_on(async {
        let failed = |error: std::io::Error| Failure::usage(format!("{address}: {error}"));
        let connect = UnixStream::connect(socket);
        let stream = match connection::timeout(arguments) {
            None => connect.await,
            Some(timeout) => tokio::time::timeout(timeout, connect)
                .await
                .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())),
        };
        copy(stream.map_err(failed)?).await.map_err(failed)
    })
}

/// Ends when the daemon has said all; the end of the input is passed on, and
/// its answer waited for.
async fn copy(stream: UnixStream) -> std::io::Result<()> {
    let (mut from_daemon, mut to_daemon) = stream.into_split();
    let mut upward = tokio::spawn(async move {
        tokio::io::copy(&mut tokio::io::stdin(), &mut to_daemon).await?;
        to_daemon.shutdown().await
    });
    let downward = async {
        let mut stdout = tokio::io::stdout();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = tokio::io::AsyncReadExt::read(&mut from_daemon, &mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            stdout.write_all(&buffer[..read]).await?;
            // Whoever waits at the other end gets what there is.
            stdout.flush().await?;
        }
    };
    let mut downward = std::pin::pin!(downward);
    tokio::select! {
        ended = &mut downward => ended,
        ended = &mut upward => {
            ended.map_err(std::io::Error::other)??;
            downward.await
        }
    }
}
