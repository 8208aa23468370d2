//! Blobs by digest, in the form of an OCI layout (`blobs/sha256/<hex>`).

mod sweep;
mod writer;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::image::{Digest, DigestAlgorithm};
use rustix::fs::{AtFlags, CWD, FlockOperation, Timespec, Timestamps, UTIME_NOW, flock, utimensat};

use crate::disk::{AtPath, DiskError};

pub use writer::ContentWriter;

/// The blobs of a store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ContentStore {
    root: Arc<Path>,
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
    /// Opens or makes the directory.
    pub(crate) fn at(root: &Path) -> Result<ContentStore, ContentError> {
        for directory in [
            root.to_owned(),
            root.join("ingest"),
            root.join("blobs/sha256"),
        ] {
            fs::create_dir_all(&directory).at("create directory", &directory)?;
        }
        let layout = root.join("oci-layout");
        if !layout.exists() {
            fs::write(&layout, br#"{"imageLayoutVersion":"1.0.0"}"#).at("write", &layout)?;
        }
        Ok(ContentStore { root: root.into() })
    }

    /// Starts a blob. With `expected` the commit fails unless digest and size (where known) are these, and
    /// writing more than that size fails at once.
    pub fn writer(
        &self,
        expected: Option<(&Digest, Option<u64>)>,
    ) -> Result<ContentWriter, ContentError> {
        ContentWriter::new(self.clone(), expected)
    }

    /// Writes a whole small blob (a manifest, a config).
    pub fn put(&self, bytes: &[u8]) -> Result<Blob, ContentError> {
        let mut writer = self.writer(None)?;
        writer.append(bytes)?;
        writer.commit()
    }

    /// Opens a blob; [`ContentError::NotFound`] if it is absent.
    pub fn open(&self, digest: &Digest) -> Result<File, ContentError> {
        let path = self.path(digest);
        File::open(&path).map_err(|error| absent_or(digest, "open", &path, error))
    }

    /// Reads a whole blob of at most `limit` bytes.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, ContentError> {
        let path = self.path(digest);
        let file = self.open(digest)?;
        let size = file.metadata().at("read", &path)?.len();
        if size > limit {
            return Err(ContentError::TooLarge {
                digest: digest.clone(),
                size,
                limit,
            });
        }
        let mut bytes = Vec::with_capacity(size as usize);
        file.take(limit).read_to_end(&mut bytes).at("read", &path)?;
        Ok(bytes)
    }

    /// Whether the blob is here. A blob that is stays at least as long as any lease that lives now.
    pub fn exists(&self, digest: &Digest) -> Result<bool, ContentError> {
        Ok(self.size(digest)?.is_some())
    }

    /// The blob's size, or `None` if it is absent. Keeps it as [`ContentStore::exists`] does.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>, ContentError> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            // Young enough to be safe from removal for a while: spare the write.
            Ok(metadata) if metadata.modified().is_ok_and(sweep::is_fresh) => {
                return Ok(Some(metadata.len()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DiskError::new("look up", &path, error).into()),
        }
        let _no_removal = self.removal_lock(FlockOperation::LockShared)?;
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        match utimensat(
            CWD,
            &path,
            &Timestamps {
                last_access: now,
                last_modification: now,
            },
            AtFlags::empty(),
        ) {
            Ok(()) => Ok(Some(fs::metadata(&path).at("look up", &path)?.len())),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(DiskError::new("touch", &path, error).into()),
        }
    }

    /// Where the blob lies, or would.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let mut path = self.root.join("blobs");
        path.push(digest.algorithm().as_ref());
        path.push(digest.digest());
        path
    }

    /// The directory of the OCI layout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn ingest_dir(&self) -> PathBuf {
        self.root.join("ingest")
    }

    /// Held shared while a blob is marked as used, exclusively while one is removed.
    fn removal_lock(&self, operation: FlockOperation) -> Result<File, DiskError> {
        let path = self.root.join("removal.lock");
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .at("open", &path)?;
        flock(&file, operation).at("lock", &path)?;
        Ok(file)
    }
}

fn absent_or(digest: &Digest, action: &'static str, path: &Path, error: io::Error) -> ContentError {
    match error.kind() {
        io::ErrorKind::NotFound => ContentError::NotFound {
            digest: digest.clone(),
        },
        _ => DiskError::new(action, path, error).into(),
    }
}

/// Refuses algorithms that this store cannot verify.
fn verifiable(digest: &Digest) -> Result<(), ContentError> {
    match digest.algorithm() {
        DigestAlgorithm::Sha256 | DigestAlgorithm::Sha384 | DigestAlgorithm::Sha512 => Ok(()),
        _ => Err(ContentError::Algorithm {
            digest: digest.clone(),
        }),
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
        "blob has digest {found}, expected {expected}: the data was changed or cut off on its way; try again, or do not trust its source"
    )]
    DigestMismatch {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The number of bytes is not that expected.
    #[error(
        "blob {digest} has {found} bytes, expected {expected}: the data was cut off or padded on its way; try again, or do not trust its source"
    )]
    SizeMismatch {
        /// Which.
        digest: Digest,
        /// What was asked for.
        expected: u64,
        /// What came, at least.
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
    /// Blobs are named by SHA-2 digests only.
    #[error("digest {digest} uses an algorithm that cannot be verified here: use sha256")]
    Algorithm {
        /// Which.
        digest: Digest,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
