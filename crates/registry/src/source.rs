//! Where the bytes of a blob to push come from.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use oci_spec::image::Digest;

use crate::error::RegistryError;
use crate::reference::Reference;
use crate::send::Body;

/// Pieces in which a file is read for sending.
const READ_SIZE: usize = 256 << 10;
/// Pieces in which bytes in memory are sent.
const PIECE_SIZE: usize = 256 << 10;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Opening = dyn Fn() -> io::Result<File> + Send + Sync;
type Bringing = dyn Fn() -> BoxFuture<'static, Result<(), Failure>> + Send + Sync;
type Reporting = dyn Fn(u64) + Send + Sync;

/// Where a blob's bytes come from. They may be read more than once.
#[derive(Clone)]
pub enum BlobData {
    /// From memory.
    Bytes(Bytes),
    /// From a file, opened anew for each attempt.
    File(Arc<Opening>),
}

impl BlobData {
    /// From a content store.
    pub fn stored(content: &kiln_store::ContentStore, digest: &Digest) -> Self {
        let (content, digest) = (content.clone(), digest.clone());
        Self::File(Arc::new(move || {
            content.open(&digest).map_err(io::Error::other)
        }))
    }
}

/// A blob to push, and all that may spare sending it.
#[derive(Clone)]
pub struct BlobSource {
    pub(crate) data: BlobData,
    pub(crate) mounts: Vec<Reference>,
    bring: Option<Arc<Bringing>>,
    progress: Option<Arc<Reporting>>,
}

impl From<BlobData> for BlobSource {
    fn from(data: BlobData) -> Self {
        Self {
            data,
            mounts: Vec::new(),
            bring: None,
            progress: None,
        }
    }
}

impl BlobSource {
    /// Repositories that may have the blob; those of the same registry are asked to lend it.
    #[must_use]
    pub fn mount_from(mut self, repositories: Vec<Reference>) -> Self {
        self.mounts = repositories;
        self
    }

    /// What makes the data readable, run only if it has to be sent.
    #[must_use]
    pub fn bring(
        mut self,
        bring: impl Fn() -> BoxFuture<'static, Result<(), Failure>> + Send + Sync + 'static,
    ) -> Self {
        self.bring = Some(Arc::new(bring));
        self
    }

    /// Told the number of bytes so far; it goes back when sending begins anew.
    #[must_use]
    pub fn report_to(mut self, progress: impl Fn(u64) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    pub(crate) fn report(&self, done: u64) {
        if let Some(progress) = &self.progress {
            progress(done);
        }
    }

    /// Makes the data readable.
    pub(crate) async fn prepare(&self) -> Result<(), RegistryError> {
        match &self.bring {
            Some(bring) => bring().await.map_err(RegistryError::Store),
            None => Ok(()),
        }
    }

    /// A body of the `length` bytes from `start` on.
    pub(crate) fn body(&self, start: u64, length: u64) -> Body {
        let (data, progress) = (self.data.clone(), self.progress.clone());
        let open = move || {
            let pieces = match &data {
                BlobData::Bytes(bytes) => pieces(bytes.slice(start as usize..)).boxed(),
                BlobData::File(open) => {
                    let mut file = open()?;
                    file.seek(SeekFrom::Start(start))?;
                    let file = tokio::fs::File::from_std(file);
                    tokio_util::io::ReaderStream::with_capacity(file, READ_SIZE).boxed()
                }
            };
            let progress = progress.clone();
            let mut done = start;
            let counted = pieces.inspect(move |piece| {
                if let (Ok(piece), Some(progress)) = (piece, &progress) {
                    progress(done);
                    done += piece.len() as u64;
                }
            });
            Ok(reqwest::Body::wrap_stream(counted))
        };
        Body::Open(Arc::new(open), length)
    }
}

fn pieces(bytes: Bytes) -> impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static {
    futures::stream::unfold(bytes, |mut rest| async move {
        let piece = rest.split_to(rest.len().min(PIECE_SIZE));
        (!piece.is_empty()).then_some((Ok(piece), rest))
    })
}
