//! From a layer's blob to its directory: decompress, verify, unpack.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use oci_spec::image::{Descriptor, Digest};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::apply::{self, ApplyError, UnpackOptions, Unpacked, Whiteouts};
use crate::content::ContentWriter;
use crate::disk::DiskError;
use crate::mount::OverlayFlavor;
use crate::store::StoreError;

const BUFFER: usize = 128 * 1024;

/// A layer to unpack.
pub(super) struct Unpacking<'a> {
    pub(super) blob: &'a Descriptor,
    pub(super) diff_id: &'a Digest,
    pub(super) flavor: OverlayFlavor,
    pub(super) target: &'a Path,
}

impl Unpacking<'_> {
    /// Unpacks `archive` into the target. Reads it to its very end.
    pub(super) fn run(&self, archive: impl Read) -> Result<Unpacked, StoreError> {
        let mut archive = BufReader::with_capacity(BUFFER, archive);
        let whiteouts = match self.flavor {
            OverlayFlavor::Trusted => Whiteouts::OverlayTrusted,
            OverlayFlavor::User => Whiteouts::OverlayUser,
        };
        let options = UnpackOptions {
            whiteouts,
            ..UnpackOptions::default()
        };
        let (unpacked, found) = {
            let mut tar = Hashing {
                inner: self.decompress(&mut archive)?,
                hasher: Sha256::new(),
            };
            let unpacked = apply::unpack_layer(&mut tar, self.target, &options)
                .map_err(|error| self.failed(error))?;
            io::copy(&mut tar, &mut io::sink()).map_err(|error| self.broken(&error))?;
            (
                unpacked,
                format!("sha256:{}", hex::encode(tar.hasher.finalize())),
            )
        };
        // What follows the compressed data belongs to the blob, too.
        io::copy(&mut archive, &mut io::sink()).map_err(|error| self.broken(&error))?;
        if self.diff_id.as_ref() != found {
            let reason = format!(
                "its content has digest {found}, the image says {}: do not trust it",
                self.diff_id
            );
            return Err(self.error(reason));
        }
        Ok(unpacked)
    }

    /// Recognises the compression by its first bytes, as the field does: media types are not always right.
    fn decompress<'r>(
        &self,
        archive: &'r mut BufReader<impl Read>,
    ) -> Result<Box<dyn Read + 'r>, StoreError> {
        use std::io::BufRead;
        let start = archive.fill_buf().map_err(|error| self.broken(&error))?;
        if start.starts_with(&[0x1f, 0x8b]) {
            return Ok(Box::new(MultiGzDecoder::new(archive)));
        }
        if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || is_skippable_frame(start) {
            let decoder =
                zstd::Decoder::with_buffer(archive).map_err(|error| self.broken(&error))?;
            return Ok(Box::new(decoder));
        }
        Ok(Box::new(archive))
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

/// Zstd streams may start with a frame that carries no data (zstd:chunked and seekable ones do).
fn is_skippable_frame(start: &[u8]) -> bool {
    matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

fn is_disk_failure(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(
        error.kind(),
        PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull
    )
}

/// Hashes what is read.
struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
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
