//! Bytes between a socket and a stream of messages.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

/// What is read at once.
const PIECE: usize = 32 << 10;

/// Passes on what a socket says, until it ends or nobody listens.
pub(crate) async fn read(mut socket: impl AsyncRead + Unpin, pieces: mpsc::Sender<Bytes>) {
    loop {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = tokio::select! {
            read = socket.read_buf(&mut piece) => read,
            () = pieces.closed() => return,
        };
        if !matches!(read, Ok(1..)) {
            return;
        }
        if pieces.send(piece.freeze()).await.is_err() {
            return;
        }
    }
}

/// Writes to a socket; `false` if it takes no more.
pub(crate) async fn write(socket: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> bool {
    socket.write_all(bytes).await.is_ok()
}
