//! From a layer's blob to its directory: decompress, verify, unpack.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use oci_spec::image::{Descriptor, Digest};
use tokio::sync::mpsc;

use super::decompress::decompressed;
use crate::apply::{self, ApplyError, UnpackOptions, Unpacked};
use crate::content::ContentWriter;
use crate::disk::DiskError;
use crate::mount::OverlayFlavor;
use crate::store::StoreError;

/// A layer to unpack.
pub(super) struct Unpacking<'a> {
    pub(super) blob: &'a Descriptor,
    pub(super) diff_id: &'a Digest,
    pub(super) flavor: OverlayFlavor,
    pub(super) target: &'a Path,
}

impl Unpacking<'_> {
    /// Unpacks `archive` into the target. Reads it to its very end.
    pub(super) fn run(&self, archive: impl Read + Send) -> Result<Unpacked, StoreError> {
        let options = UnpackOptions {
            whiteouts: self.flavor.whiteouts(),
            ..UnpackOptions::default()
        };
        let used = decompressed(archive, |mut tar| {
            let unpacked = apply::unpack_layer(&mut tar, self.target, &options)?;
            // Whatever follows the end mark counts for the digest.
            let rest = io::copy(&mut tar, &mut io::sink());
            Ok((unpacked, rest))
        });
        match (used.value, used.digest) {
            (Ok((_, Err(error))), _) => Err(self.broken(&error)),
            (Ok((unpacked, Ok(_))), Ok(digest)) => self.verified(unpacked, &digest),
            (Ok(_), Err(error)) => Err(self.broken(&error)),
            // The producer stopped because the unpacker did.
            (Err(error), Err(stopped)) if stopped.kind() == io::ErrorKind::BrokenPipe => {
                Err(self.failed(error))
            }
            (Err(_), Err(error)) => Err(self.broken(&error)),
            (Err(error), Ok(_)) => Err(self.failed(error)),
        }
    }

    fn verified(&self, unpacked: Unpacked, digest: &str) -> Result<Unpacked, StoreError> {
        if self.diff_id.as_ref() == digest {
            return Ok(unpacked);
        }
        let image = self.diff_id;
        Err(self.error(format!(
            "its content has digest {digest}, the image says {image}: do not trust it"
        )))
    }

    fn failed(&self, error: ApplyError) -> StoreError {
        match error {
            ApplyError::Member { path, source } if is_disk_failure(&source) => {
                DiskError::new("unpack a layer to", &self.target.join(path), source).into()
            }
            other => self.error(other.to_string()),
        }
    }

    fn broken(&self, error: &io::Error) -> StoreError {
        self.error(format!("its data is damaged or cut off: {error}"))
    }

    fn error(&self, reason: String) -> StoreError {
        StoreError::Unpack {
            digest: self.blob.digest().to_string(),
            reason,
        }
    }
}

fn is_disk_failure(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(
        error.kind(),
        PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull
    )
}

/// A blob that arrives in pieces from another task; kept in the content store on the way.
pub(super) struct Arriving {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
    writer: ContentWriter,
}

impl Arriving {
    pub(super) fn new(
        pieces: mpsc::Receiver<io::Result<Bytes>>,
        writer: ContentWriter,
    ) -> Arriving {
        Arriving {
            pieces,
            current: Bytes::new(),
            writer,
        }
    }

    /// Verifies and keeps the blob, all of which must have been read.
    pub(super) fn keep(self) -> Result<(), StoreError> {
        self.writer.commit()?;
        Ok(())
    }
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => {
                    let piece = piece?;
                    self.writer.append(&piece).map_err(io::Error::other)?;
                    self.current = piece;
                }
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

/// What was unpacked and not yet put in its place.
pub(super) struct Unfinished {
    /// The layer's blob.
    pub(super) digest: String,
    pub(super) directory: PathBuf,
    pub(super) implied: Vec<PathBuf>,
}
