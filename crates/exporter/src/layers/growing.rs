//! Blobs that others may read while they are made.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use kiln_store::content::ContentError;
use kiln_store::{Blob, ContentWriter, Ref};
use tokio::sync::watch;

/// A blob is read in pieces of at most this size.
const PIECE: u64 = 1 << 20;

/// Hears of blobs while they are made.
pub(crate) trait BlobObserver: Send + Sync {
    /// The files of a layer become a blob that is new here. Called on the thread that makes it.
    fn begun(&self, layer: &Ref, blob: GrowingBlob);
}

/// A blob that is being made. It is read from its file, so a slow reader neither holds up its maker nor fills memory.
#[derive(Clone)]
pub(crate) struct GrowingBlob {
    file: Arc<File>,
    growth: watch::Receiver<Growth>,
}

/// How far a blob has come.
#[derive(Clone, Debug)]
enum Growth {
    /// So many bytes can be read.
    Part(u64),
    /// All of it.
    Whole(Blob),
}

impl Growth {
    fn size(&self) -> u64 {
        match self {
            Self::Part(size) => *size,
            Self::Whole(blob) => blob.size,
        }
    }

    fn has_end(&self) -> bool {
        matches!(self, Self::Whole(_))
    }
}

impl GrowingBlob {
    /// Waits until it has this size; false if it never does.
    pub(crate) async fn reaches(&self, size: u64) -> bool {
        let mut growth = self.growth.clone();
        let grown = growth.wait_for(|growth| growth.size() >= size || growth.has_end());
        grown.await.is_ok_and(|growth| growth.size() >= size)
    }

    /// The next piece from `offset` on, as soon as there is one; `None` at the end, also of a blob that is given up.
    pub(crate) async fn piece(&self, offset: u64) -> io::Result<Option<Bytes>> {
        if !self.reaches(offset + 1).await {
            return Ok(None);
        }
        let there = self.growth.borrow().size().saturating_sub(offset);
        let (file, length) = (self.file.clone(), there.min(PIECE));
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; length as usize];
            file.read_exact_at(&mut piece, offset)?;
            Ok(Some(Bytes::from(piece)))
        });
        read.await.map_err(io::Error::other)?
    }

    /// What it has become, once it is whole.
    pub(crate) fn whole(&self) -> Option<Blob> {
        match &*self.growth.borrow() {
            Growth::Whole(blob) => Some(blob.clone()),
            Growth::Part(_) => None,
        }
    }
}

/// Writes a blob into the content store, and tells how it grows.
pub(super) struct Grower {
    writer: ContentWriter,
    growth: Option<watch::Sender<Growth>>,
}

impl Grower {
    /// Who observes it hears of the blob at once.
    pub(super) fn new(writer: ContentWriter, observer: Option<(&dyn BlobObserver, &Ref)>) -> Self {
        let growth = observer.and_then(|(observer, layer)| {
            // One that cannot be observed is still a blob.
            let file = Arc::new(writer.reader().ok()?);
            let (told, growth) = watch::channel(Growth::Part(0));
            observer.begun(layer, GrowingBlob { file, growth });
            Some(told)
        });
        Self { writer, growth }
    }

    /// Publishes the blob under its digest.
    pub(super) fn commit(self) -> Result<Blob, ContentError> {
        let blob = self.writer.commit()?;
        if let Some(growth) = self.growth {
            growth.send_replace(Growth::Whole(blob.clone()));
        }
        Ok(blob)
    }
}

impl Write for Grower {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let length = self.writer.write(data)?;
        if let Some(growth) = &self.growth {
            self.writer.flush()?;
            growth.send_replace(Growth::Part(self.writer.written()));
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
