//! Bodies that are sent while they are made.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::watch;

/// The pieces of a body of which nobody knows how long it will be.
pub(crate) type Growing = BoxStream<'static, io::Result<Bytes>>;

/// A body, and what changes with each piece that is taken of it, until it ends.
pub(crate) fn watched(pieces: Growing) -> (reqwest::Body, watch::Receiver<()>) {
    let (moved, moves) = watch::channel(());
    let pieces = pieces.inspect(move |_| {
        moved.send_replace(());
    });
    (reqwest::Body::wrap_stream(pieces), moves)
}

/// Waits for an answer as long as the body moves on; `None` if it does not.
pub(crate) async fn while_moving<T>(
    answer: impl Future<Output = T>,
    mut moves: watch::Receiver<()>,
    idle: Duration,
) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    loop {
        tokio::select! {
            answer = &mut answer => return Some(answer),
            moved = tokio::time::timeout(idle, moves.changed()) => match moved {
                Ok(Ok(())) => {}
                // All of it is handed over.
                Ok(Err(_)) => return tokio::time::timeout(idle, answer).await.ok(),
                Err(_) => return None,
            },
        }
    }
}
