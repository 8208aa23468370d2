//! The file that a download becomes: hashed while it is written, decompressed if it was compressed for the way.

use std::fs::File;
use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use reqwest::Response;
use reqwest::header::CONTENT_ENCODING;
use sha2::{Digest as _, Sha256};

/// What a server did with a file before it sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Nothing.
    Plain,
    /// `Content-Encoding: gzip` (RFC 9110, section 8.4).
    Gzip,
}

impl Encoding {
    /// That of an answer.
    pub(super) fn of(response: &Response) -> Self {
        let encoding = response.headers().get(CONTENT_ENCODING);
        let is_gzip = encoding.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"gzip"));
        if is_gzip { Self::Gzip } else { Self::Plain }
    }
}

/// A file being written.
pub(super) enum Body {
    Plain(Hashed),
    Gzip(Box<MultiGzDecoder<Hashed>>),
}

/// A file and the hash of all that is in it.
pub(super) struct Hashed {
    file: File,
    hash: Sha256,
}

impl Body {
    pub(super) fn new(file: File, encoding: Encoding) -> Self {
        let hashed = Hashed {
            file,
            hash: Sha256::new(),
        };
        match encoding {
            Encoding::Plain => Self::Plain(hashed),
            Encoding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(hashed))),
        }
    }

    /// Adds what came.
    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(hashed) => hashed.write_all(piece),
            Self::Gzip(decoder) => decoder.write_all(piece),
        }
    }

    /// The whole file and its SHA-256 in hexadecimal.
    pub(super) fn finish(self) -> io::Result<(File, String)> {
        let Hashed { file, hash } = match self {
            Self::Plain(hashed) => hashed,
            Self::Gzip(decoder) => decoder.finish()?,
        };
        Ok((file, hex::encode(hash.finalize())))
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
