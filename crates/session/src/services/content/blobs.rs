//! The blobs of one OCI layout directory.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use bytes::Bytes;
use kiln_protocol::content::{Info, ReadContentRequest, ReadContentResponse};
use oci_spec::image::Digest;
use tokio::sync::mpsc;
use tonic::Status;

use crate::tunnel::PIECE;

/// What a daemon may do with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

#[derive(Debug, Clone)]
pub(super) struct Blobs {
    pub(super) directory: PathBuf,
    pub(super) access: Access,
}

/// A digest whose parts can be names of files.
pub(super) fn parse(text: &str) -> Result<Digest, Status> {
    let invalid = || Status::invalid_argument(format!("{text:?} failed validation"));
    let digest: Digest = text.parse().map_err(|_| invalid())?;
    let is_plain =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match is_plain(digest.algorithm().as_ref()) && is_plain(digest.digest()) {
        true => Ok(digest),
        false => Err(invalid()),
    }
}

pub(super) fn failed(path: &std::path::Path, error: &io::Error) -> Status {
    Status::unknown(format!("{}: {error}", path.display()))
}

impl Blobs {
    pub(super) fn folder(&self, algorithm: &str) -> PathBuf {
        self.directory.join("blobs").join(algorithm)
    }

    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
        self.folder(digest.algorithm().as_ref())
            .join(digest.digest())
    }

    pub(super) fn must_be_writable(&self) -> Result<(), Status> {
        match self.access {
            Access::Write => Ok(()),
            Access::Read => Err(Status::permission_denied(format!(
                "{}: the client lends this directory for reading only",
                self.directory.display()
            ))),
        }
    }

    pub(super) fn info(&self, digest: &Digest) -> Result<Info, Status> {
        let (_, size) = self.open_file(digest)?;
        Ok(info(digest.to_string(), size))
    }

    fn open_file(&self, digest: &Digest) -> Result<(File, u64), Status> {
        let path = self.path(digest);
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
        match opened {
            Ok((metadata, file)) if metadata.is_file() => Ok((file, metadata.len())),
            Ok(_) => Err(not_found(digest)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(not_found(digest)),
            Err(error) => Err(failed(&path, &error)),
        }
    }

    /// The part of a blob that a request wants.
    pub(super) fn open(&self, wanted: &ReadContentRequest) -> Result<Part, Status> {
        let (mut file, size) = self.open_file(&parse(&wanted.digest)?)?;
        let offset = u64::try_from(wanted.offset).unwrap_or(0);
        if offset > size {
            return Err(Status::out_of_range(format!(
                "read past object length {size} bytes"
            )));
        }
        let rest = size - offset;
        let length = match u64::try_from(wanted.size) {
            Ok(length @ 1..) => length.min(rest),
            _ => rest,
        };
        file.seek(SeekFrom::Start(offset))
            .map_err(|error| failed(&self.directory, &error))?;
        Ok(Part { file, length })
    }

    /// All blobs.
    pub(super) fn list(&self) -> Result<Vec<Info>, Status> {
        let mut infos = Vec::new();
        for algorithm in ["sha256", "sha384", "sha512"] {
            let folder = self.folder(algorithm);
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(&folder, &error)),
            };
            for entry in entries {
                let entry = entry.map_err(|error| failed(&folder, &error))?;
                let name = format!("{algorithm}:{}", entry.file_name().to_string_lossy());
                // Other files are no blobs, and blobs may go at any time.
                if let (Ok(digest), Ok(metadata)) = (parse(&name), entry.metadata())
                    && metadata.is_file()
                {
                    infos.push(info(digest.to_string(), metadata.len()));
                }
            }
        }
        Ok(infos)
    }
}

pub(super) fn info(digest: String, size: u64) -> Info {
    Info {
        digest,
        size: i64::try_from(size).unwrap_or(i64::MAX),
        ..Info::default()
    }
}

pub(super) fn not_found(digest: &Digest) -> Status {
    Status::not_found(format!("content {digest}: not found"))
}

/// A part of a file that is to be sent.
pub(super) struct Part {
    file: File,
    length: u64,
}

impl Part {
    /// Reads until all is sent or nobody wants more.
    pub(super) fn send(self, pieces: &mpsc::Sender<Result<ReadContentResponse, Status>>) {
        let mut rest = self.file.take(self.length);
        let mut offset = 0;
        let mut buffer = vec![0; PIECE];
        while offset < self.length {
            let message = match rest.read(&mut buffer) {
                Ok(0) => Err(Status::data_loss(
                    "the blob became shorter while it was read",
                )),
                Ok(length) => {
                    let data = Bytes::copy_from_slice(&buffer[..length]);
                    let message = ReadContentResponse {
                        offset: i64::try_from(offset).unwrap_or(i64::MAX),
                        data,
                    };
                    offset += length as u64;
                    Ok(message)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(Status::unknown(format!("cannot read blob: {error}"))),
            };
            let is_last = message.is_err();
            if futures::executor::block_on(pieces.send(message)).is_err() || is_last {
                return;
            }
        }
    }
}
