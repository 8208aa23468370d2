//! Blobs by digest, in the form of an OCI layout (`blobs/sha256/<hex>`).

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use oci_spec::image::Digest;

use crate::disk::DiskError;

/// The blobs of a store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ContentStore {
    _todo: (),
}

/// A blob that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl ContentStore {
    /// Starts a blob. With `expected` the commit fails unless digest and size (where known) are these, and
    /// writing more than that size fails at once.
    pub fn writer(
        &self,
        expected: Option<(&Digest, Option<u64>)>,
    ) -> Result<ContentWriter, ContentError> {
        todo!()
    }

    /// Writes a whole small blob (a manifest, a config).
    pub fn put(&self, bytes: &[u8]) -> Result<Blob, ContentError> {
        todo!()
    }

    /// Opens a blob; [`ContentError::NotFound`] if it is absent.
    pub fn open(&self, digest: &Digest) -> Result<File, ContentError> {
        todo!()
    }

    /// Reads a whole blob of at most `limit` bytes.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, ContentError> {
        todo!()
    }

    /// Whether the blob is here. A blob that is stays at least as long as any lease that lives now.
    pub fn exists(&self, digest: &Digest) -> Result<bool, ContentError> {
        todo!()
    }

    /// The blob's size, or `None` if it is absent. Keeps it as [`ContentStore::exists`] does.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>, ContentError> {
        todo!()
    }

    /// Where the blob lies, or would.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        todo!()
    }
}

/// A blob being written: hashed on the way, invisible until committed, gone if dropped.
#[derive(Debug)]
pub struct ContentWriter {
    _todo: (),
}

impl ContentWriter {
    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        todo!()
    }

    /// Verifies and publishes the blob under its digest.
    pub fn commit(self) -> Result<Blob, ContentError> {
        todo!()
    }
}

impl Write for ContentWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        todo!()
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a blob could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The blob is not in the store.
    #[error("blob {digest} is not in the store")]
    NotFound {
        /// Which.
        digest: Digest,
    },
    /// The bytes are not those expected.
    #[error(
        "blob has digest {found}, expected {expected}: the data was changed or cut off on its way; try again or distrust the source"
    )]
    DigestMismatch {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The number of bytes is not that expected.
    #[error(
        "blob {digest} has {found} bytes, expected {expected}: the data was cut off or padded on its way; try again or distrust the source"
    )]
    SizeMismatch {
        /// Which.
        digest: Digest,
        /// What was asked for.
        expected: u64,
        /// What came (at least).
        found: u64,
    },
    /// The blob is larger than the reader accepts.
    #[error("blob {digest} has {size} bytes, more than the {limit} allowed here")]
    TooLarge {
        /// Which.
        digest: Digest,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// Only sha256, sha384 and sha512 digests can name blobs.
    #[error("digest {digest} uses an algorithm that is not supported; use sha256")]
    Algorithm {
        /// Which.
        digest: Digest,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
