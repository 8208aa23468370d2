//! Looks at what a download contains: whether somebody signed it, and further checksums of it.

use std::fs::File;
use std::io::{self, Read as _};

use bytes::Bytes;
use kiln_signature::{Expiry, verify_openpgp};
use kiln_store::{MountedDir, Ref, Store};
use rustix::fs::{CWD, Mode, OFlags};
use sha2::digest::DynDigest;
use sha2::{Sha256, Sha384, Sha512};

use super::identifier::HttpSignature;
use crate::error::SourceError;

/// Read at once.
const CHUNK: usize = 256 << 10;

/// A checksum that somebody wants of a file, beside the one that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChecksumRequest {
    /// Which.
    pub algorithm: ChecksumAlgorithm,
    /// What is hashed after the file; at most [`ChecksumRequest::MAX_SUFFIX`] bytes.
    pub suffix: Bytes,
}

impl ChecksumRequest {
    /// The longest suffix, in bytes; the protocol's own limit.
    pub const MAX_SUFFIX: usize = 4 << 10;
}

/// How a checksum is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it")]
pub enum ChecksumAlgorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl ChecksumAlgorithm {
    fn start(self) -> (&'static str, Box<dyn DynDigest>) {
        match self {
            Self::Sha256 => ("sha256", Box::<Sha256>::default()),
            Self::Sha384 => ("sha384", Box::<Sha384>::default()),
            Self::Sha512 => ("sha512", Box::<Sha512>::default()),
        }
    }
}

/// A download that is here, open.
pub(super) struct Content {
    file: File,
    /// The URL as it may be shown.
    url: String,
    _mount: Option<MountedDir>,
}

impl Content {
    /// Opens the file of a tree. Blocks.
    pub(super) fn open(
        store: &Store,
        tree: &Ref,
        name: &str,
        url: String,
    ) -> Result<Self, SourceError> {
        let mount = match tree.local_dir()? {
            Some(_) => None,
            None => Some(store.mount(&tree.mounts()?)?),
        };
        let directory = match &mount {
            Some(mount) => mount.path().to_owned(),
            None => tree.local_dir()?.unwrap_or_default(),
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(CWD, directory.join(name), flags, Mode::empty());
        match opened {
            Ok(file) => Ok(Self {
                file: file.into(),
                url,
                _mount: mount,
            }),
            Err(error) => Err(unreadable(url, error.into())),
        }
    }

    /// Checks that it is signed. Blocks.
    pub(super) fn verify(mut self, wanted: &HttpSignature) -> Result<(), SourceError> {
        let (signature, keys) = (&wanted.signature, &wanted.keys);
        let verified = verify_openpgp(&mut self.file, signature, keys, Expiry::AtSigning);
        verified.map_err(|source| SourceError::DownloadSignature {
            url: self.url,
            source,
        })
    }

    /// A checksum of it, with the name of its algorithm. Blocks.
    pub(super) fn checksum(mut self, wanted: &ChecksumRequest) -> Result<String, SourceError> {
        let (name, mut hash) = wanted.algorithm.start();
        let mut buffer = vec![0; CHUNK];
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => hash.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(self.url, error)),
            }
        }
        hash.update(&wanted.suffix);
        Ok(format!("{name}:{}", hex::encode(hash.finalize())))
    }
}

fn unreadable(url: String, source: io::Error) -> SourceError {
    SourceError::DownloadWrite {
        url,
        action: "read",
        source,
    }
}
