//! A blob of ours that is read in parts.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use kiln_store::ContentStore;
use oci_spec::image::{Descriptor, Digest};

use super::StoreError;

/// What is read at once of a part that is streamed.
const PIECE: u64 = 256 << 10;

/// An open blob. Clones read the same file, each where it wants.
#[derive(Clone)]
pub(super) struct OpenBlob {
    file: Arc<File>,
    digest: Digest,
    pub(super) size: u64,
}

impl OpenBlob {
    pub(super) async fn new(blob: &Descriptor, content: &ContentStore) -> Result<Self, StoreError> {
        let (digest, content) = (blob.digest().clone(), content.clone());
        let opened = tokio::task::spawn_blocking(move || content.open(&digest)).await;
        Ok(Self {
            file: Arc::new(opened.map_err(|_| StoreError::Ended)??),
            digest: blob.digest().clone(),
            size: blob.size(),
        })
    }

    /// The bytes of a part, all at once.
    pub(super) async fn read(&self, start: u64, length: u64) -> Result<Bytes, StoreError> {
        let file = self.file.clone();
        let read = move || {
            let mut bytes = vec![0; usize::try_from(length).map_err(std::io::Error::other)?];
            file.read_exact_at(&mut bytes, start)?;
            Ok(Bytes::from(bytes))
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
