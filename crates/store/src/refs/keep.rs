//! Blobs that come as streams.

use bytes::{Bytes, BytesMut};
use oci_spec::image::Descriptor;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use super::{FetchError, FetchStream};
use crate::content::ContentStore;

/// What is read at once, and how many such pieces wait for the disk.
const PIECE: usize = 256 << 10;
const PIECES: usize = 8;

/// Brings a blob into the content store from its bytes as they arrive: what [`super::Fetch::fetch`] does where blobs come as
/// streams. `progress` hears how many bytes have come.
pub async fn keep(
    mut stream: FetchStream,
    descriptor: &Descriptor,
    content: &ContentStore,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<(), FetchError> {
    let (sender, mut pieces) = mpsc::channel::<Bytes>(PIECES);
    let (content, blob) = (content.clone(), descriptor.clone());
    let size = (blob.size() > 0).then(|| blob.size());
    let writing = tokio::task::spawn_blocking(move || {
        let mut writer = content.writer(Some((blob.digest(), size)))?;
        while let Some(piece) = pieces.blocking_recv() {
            writer.append(&piece)?;
        }
        writer.commit().map(drop)
    });
    let mut done = 0;
    let reading = loop {
        let mut piece = BytesMut::with_capacity(PIECE);
        match stream.read_buf(&mut piece).await {
            Ok(0) => break Ok(()),
            Ok(count) => done += count as u64,
            Err(error) => break Err(error),
        }
        // What the writer has against it, it says itself.
        if sender.send(piece.freeze()).await.is_err() {
            break Ok(());
        }
        progress(done);
    };
    // Without its end the blob is not complete, so the writer must not commit it: it would say that it is too short.
    drop(sender);
    let written = writing.await?;
    reading?;
    Ok(written?)
}
