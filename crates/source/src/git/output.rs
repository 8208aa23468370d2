//! What git says: kept as far as it is needed, and shown while it comes.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Told what git says while it works: the stream, 1 or 2, and the bytes.
pub type GitLog = Arc<dyn Fn(u8, Bytes) + Send + Sync>;

/// Read at once.
const CHUNK: usize = 16 * 1024;

/// What was read of a stream.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) bytes: Vec<u8>,
    /// Whether there was more than is kept.
    pub(super) is_cut: bool,
}

/// Reads a stream to its end and keeps as much of its end as `limit` allows.
pub(super) async fn last_of(
    mut stream: impl AsyncRead + Unpin,
    limit: usize,
    show: impl Fn(Bytes),
) -> io::Result<Kept> {
    let mut kept = Kept::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = stream.read(&mut chunk).await?;
        if length == 0 {
            return Ok(kept);
        }
        let piece = chunk.get(..length).unwrap_or_default();
        show(Bytes::copy_from_slice(piece));
        kept.bytes.extend_from_slice(piece);
        if let Some(over) = kept.bytes.len().checked_sub(limit).filter(|&over| over > 0) {
            kept.bytes.drain(..over);
            kept.is_cut = true;
        }
    }
}
