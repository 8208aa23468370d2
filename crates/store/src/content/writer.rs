//! A blob on its way in: hashed while it is written, invisible until it is complete and verified.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::image::{Digest, DigestAlgorithm};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, linkat, openat};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::{Blob, ContentError, ContentStore, verifiable};
use crate::disk::{AtPath, DiskError};
use crate::refs::new_id;

/// Large enough that small writes of a tar or a decompressor cost nothing.
const BUFFER: usize = 128 * 1024;

/// A blob being written: hashed on the way, invisible until committed, gone if dropped.
#[derive(Debug)]
pub struct ContentWriter {
    store: ContentStore,
    file: BufWriter<File>,
    /// Where the bytes gather, for messages; for a named file also what is renamed or removed.
    path: PathBuf,
    name: Name,
    hasher: Hasher,
    written: u64,
    expected: Option<(Digest, Option<u64>)>,
}

/// Whether the unfinished file has a name.
#[derive(Debug, PartialEq, Eq)]
enum Name {
    /// The kernel drops it with the process.
    None,
    /// File systems without O_TMPFILE: locked while it is written, removed by a sweep after its writer dies.
    Temporary,
}

#[derive(Debug, Clone)]
enum Hasher {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl ContentWriter {
    pub(super) fn new(
        store: ContentStore,
        expected: Option<(&Digest, Option<u64>)>,
    ) -> Result<ContentWriter, ContentError> {
        let hasher = match expected {
            Some((digest, _)) => {
                verifiable(digest)?;
                Hasher::of(digest.algorithm())
            }
            None => Hasher::of(&DigestAlgorithm::Sha256),
        };
        let directory = store.ingest_dir();
        let (file, path, name) = unfinished_file(&directory)?;
        let expected = expected.map(|(digest, size)| (digest.clone(), size));
        let file = BufWriter::with_capacity(BUFFER, file);
        Ok(ContentWriter {
            store,
            file,
            path,
            name,
            hasher,
            written: 0,
            expected,
        })
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Reads the blob while it is written: what has been flushed is there. It outlives the writer, whatever becomes of
    /// that.
    pub fn reader(&self) -> Result<File, ContentError> {
        let magic = format!("/proc/self/fd/{}", self.file.get_ref().as_raw_fd());
        Ok(File::open(magic).at("read the blob being written in", &self.path)?)
    }

    /// Writes all of `bytes`, with an error that says what is wrong.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), ContentError> {
        self.check_room(bytes.len())?;
        self.file.write_all(bytes).at("write blob in", &self.path)?;
        self.account(bytes);
        Ok(())
    }

    /// Verifies and publishes the blob under its digest.
    pub fn commit(mut self) -> Result<Blob, ContentError> {
        self.file.flush().at("write blob in", &self.path)?;
        let digest = self
            .hasher
            .clone()
            .digest()
            .map_err(io::Error::other)
            .at("hash blob in", &self.path)?;
        if let Some((expected, size)) = self.expected.take() {
            if let Some(size) = size.filter(|size| *size != self.written) {
                return Err(ContentError::SizeMismatch {
                    digest: expected,
                    expected: size,
                    found: self.written,
                });
            }
            if expected != digest {
                return Err(ContentError::DigestMismatch {
                    expected,
                    found: digest,
                });
            }
        }
        let blob = Blob {
            digest,
            size: self.written,
        };
        // The same blob may be here already; then this marks it as used.
        if self.store.size(&blob.digest)? != Some(blob.size) {
            self.publish(&self.store.path(&blob.digest))?;
        }
        Ok(blob)
    }

    fn publish(&self, target: &Path) -> Result<(), ContentError> {
        if let Some(directory) = target.parent() {
            fs::create_dir_all(directory).at("create directory", directory)?;
        }
        let file = self.file.get_ref();
        // Blobs never change: also root should not write to one by mistake.
        rustix::fs::fchmod(file, Mode::from_raw_mode(0o444)).at("write blob in", &self.path)?;
        match self.name {
            Name::Temporary => fs::rename(&self.path, target).at("write", target)?,
            Name::None => {
                let magic = format!("/proc/self/fd/{}", file.as_raw_fd());
                match linkat(CWD, &magic, CWD, target, AtFlags::SYMLINK_FOLLOW) {
                    // Another process was faster, or a damaged one is in the way: the size differs.
                    Err(rustix::io::Errno::EXIST) => self.replace(&magic, target)?,
                    result => result.at("write", target)?,
                }
            }
        }
        Ok(())
    }

    fn replace(&self, magic: &str, target: &Path) -> Result<(), DiskError> {
        let beside = self.store.ingest_dir().join(new_id());
        linkat(CWD, magic, CWD, &beside, AtFlags::SYMLINK_FOLLOW).at("write", &beside)?;
        fs::rename(&beside, target).at("write", target)
    }

    fn check_room(&self, more: usize) -> Result<(), ContentError> {
        let Some((digest, Some(size))) = &self.expected else {
            return Ok(());
        };
        let found = self.written + more as u64;
        if found > *size {
            return Err(ContentError::SizeMismatch {
                digest: digest.clone(),
                expected: *size,
                found,
            });
        }
        Ok(())
    }

    fn account(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
    }
}

impl Write for ContentWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes).map_err(|error| match error {
            ContentError::Disk(error) => io::Error::new(error.kind(), error),
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for ContentWriter {
    fn drop(&mut self) {
        if self.name == Name::Temporary {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A file that vanishes with the process, or where the file system has no such thing, one that is known as dead
/// when it is no longer locked.
fn unfinished_file(directory: &Path) -> Result<(File, PathBuf, Name), DiskError> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match openat(CWD, directory, flags, Mode::from_raw_mode(0o600)) {
        Ok(file) => return Ok((file.into(), directory.to_owned(), Name::None)),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {
        }
        Err(error) => return Err(DiskError::new("create a file in", directory, error)),
    }
    let path = directory.join(new_id());
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .at("create", &path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).at("lock", &path)?;
    Ok((file, path, Name::Temporary))
}

impl Hasher {
    fn of(algorithm: &DigestAlgorithm) -> Hasher {
        match algorithm {
            DigestAlgorithm::Sha384 => Hasher::Sha384(Sha384::new()),
            DigestAlgorithm::Sha512 => Hasher::Sha512(Sha512::new()),
            _ => Hasher::Sha256(Sha256::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha384(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    fn digest(self) -> Result<Digest, OciSpecError> {
        match self {
            Hasher::Sha256(hasher) => {
                Digest::try_from(format!("sha256:{}", hex::encode(hasher.finalize())))
            }
            Hasher::Sha384(hasher) => {
                Digest::try_from(format!("sha384:{}", hex::encode(hasher.finalize())))
            }
            Hasher::Sha512(hasher) => {
                Digest::try_from(format!("sha512:{}", hex::encode(hasher.finalize())))
            }
        }
    }
}
