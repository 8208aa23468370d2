//! Blobs of ours that are read in parts.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use kiln_store::ContentStore;
use oci_spec::image::{Descriptor, Digest};

use super::StoreError;

/// What is read at once of a part that is streamed.
const PIECE: u64 = 256 << 10;

/// Where the bytes of a blob that is sent come from.
pub(crate) enum BlobSource<'a> {
    Content(&'a ContentStore),
    /// This is the blob.
    Bytes(Bytes),
}

/// An open blob. Clones read the same bytes, each where it wants.
#[derive(Clone)]
pub(super) struct OpenBlob {
    data: Data,
    digest: Digest,
    pub(super) size: u64,
}

#[derive(Clone)]
enum Data {
    File(Arc<File>),
    Bytes(Bytes),
}

impl OpenBlob {
    pub(super) async fn new(
        blob: &Descriptor,
        source: &BlobSource<'_>,
    ) -> Result<Self, StoreError> {
        let data = match source {
            BlobSource::Content(content) => {
                let (digest, content) = (blob.digest().clone(), (*content).clone());
                let opened = tokio::task::spawn_blocking(move || content.open(&digest)).await;
                Data::File(Arc::new(opened.map_err(|_| StoreError::Ended)??))
            }
            BlobSource::Bytes(bytes) => Data::Bytes(bytes.clone()),
        };
        Ok(Self {
            data,
            digest: blob.digest().clone(),
            size: blob.size(),
        })
    }

    /// The bytes of a part, all at once.
    pub(super) async fn read(&self, start: u64, length: u64) -> Result<Bytes, StoreError> {
        let data = self.data.clone();
        let read = move || {
            let length = usize::try_from(length).map_err(io::Error::other)?;
            match data {
                Data::File(file) => {
                    let mut bytes = vec![0; length];
                    file.read_exact_at(&mut bytes, start)?;
                    Ok(Bytes::from(bytes))
                }
                Data::Bytes(bytes) => part(&bytes, start, length),
            }
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|_| StoreError::Ended)?
            .map_err(|source| StoreError::Io {
                digest: self.digest.to_string(),
                source,
            })
    }

    /// The bytes of a part, piece by piece.
    pub(super) fn stream(
        &self,
        start: u64,
        length: u64,
    ) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + use<> {
        let blob = self.clone();
        let pieces = futures::stream::try_unfold((start, length), move |(start, length)| {
            let blob = blob.clone();
            async move {
                let piece = PIECE.min(length);
                if piece == 0 {
                    return Ok(None);
                }
                let bytes = blob.read(start, piece).await?;
                Ok(Some((bytes, (start + piece, length - piece))))
            }
        });
        pieces.into_stream()
    }
}

fn part(bytes: &Bytes, start: u64, length: usize) -> io::Result<Bytes> {
    let start = usize::try_from(start).map_err(io::Error::other)?;
    let end = start.checked_add(length).filter(|end| *end <= bytes.len());
    end.map(|end| bytes.slice(start..end))
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
