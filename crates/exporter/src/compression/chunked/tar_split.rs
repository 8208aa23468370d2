//! What of a tar is no file's data, so that the tar can be put together again from its files: JSON lines in the form
//! of the tar-split library.

use std::io::{self, Write};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crc::{CRC_64_GO_ISO, Crc, Table};
use kiln_store::tar::Header;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::tail::TABLE_LEVEL;
use super::toc::sha256;

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_GO_ISO);

/// What may follow the end of a tar is cut into pieces of this length.
const LONGEST: usize = 1 << 20;

const FILE: u8 = 1;
const SEGMENT: u8 = 2;

#[derive(Serialize)]
struct Line<'a> {
    r#type: u8,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    payload: Option<String>,
    position: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The lines so far, compressed.
#[derive(Default)]
pub(super) struct TarSplit {
    lines: Option<zstd::stream::write::Encoder<'static, Vec<u8>>>,
    length: u64,
    position: u64,
    /// Padding and headers since the last file.
    segment: Vec<u8>,
    file: Option<File>,
}

/// A file whose data is coming.
struct File {
    name: String,
    size: u64,
    left: u64,
    sum: crc::Digest<'static, u64, Table<16>>,
}

/// All lines, compressed.
pub(super) struct Split {
    pub(super) bytes: Vec<u8>,
    /// Of the compressed bytes.
    pub(super) digest: String,
    /// Without compression.
    pub(super) length: u64,
}

impl TarSplit {
    /// Adds bytes that are no file's data.
    pub(super) fn frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.segment.len() > LONGEST {
            self.end_segment()?;
        }
        self.segment.extend_from_slice(bytes);
        Ok(())
    }

    /// Adds a member whose headers have all come.
    pub(super) fn member(&mut self, header: &Header) -> io::Result<()> {
        self.end_segment()?;
        let size = match header.kind.is_header_only() {
            true => 0,
            false => header.size,
        };
        let file = File {
            name: String::from_utf8_lossy(&header.name).into_owned(),
            size,
            left: size,
            sum: CRC.digest(),
        };
        match size {
            0 => self.end_file(file),
            _ => {
                self.file = Some(file);
                Ok(())
            }
        }
    }

    /// Adds data of the last member.
    pub(super) fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(mut file) = self.file.take() else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        file.sum.update(bytes);
        file.left -= bytes.len() as u64;
        match file.left {
            0 => self.end_file(file),
            _ => {
                self.file = Some(file);
                Ok(())
            }
        }
    }

    pub(super) fn finish(mut self) -> io::Result<Split> {
        self.end_segment()?;
        let bytes = match self.lines {
            Some(lines) => lines.finish()?,
            None => zstd::bulk::compress(&[], TABLE_LEVEL)?,
        };
        Ok(Split {
            digest: sha256(&Sha256::digest(&bytes)),
            bytes,
            length: self.length,
        })
    }

    fn end_segment(&mut self) -> io::Result<()> {
        if self.segment.is_empty() {
            return Ok(());
        }
        let payload = BASE64_STANDARD.encode(&self.segment);
        self.segment.clear();
        self.line(SEGMENT, "", 0, Some(payload))
    }

    fn end_file(&mut self, file: File) -> io::Result<()> {
        let sum = file.sum.finalize().to_be_bytes();
        let payload = (file.size > 0).then(|| BASE64_STANDARD.encode(sum));
        self.line(FILE, &file.name, file.size, payload)
    }

    fn line(
        &mut self,
        r#type: u8,
        name: &str,
        size: u64,
        payload: Option<String>,
    ) -> io::Result<()> {
        let line = Line {
            r#type,
            name,
            size,
            payload,
            position: self.position,
        };
        let mut line = serde_json::to_vec(&line).map_err(io::Error::other)?;
        line.push(b'\n');
        self.position += 1;
        self.length += line.len() as u64;
        let lines = match &mut self.lines {
            Some(lines) => lines,
            slot => slot.insert(zstd::stream::write::Encoder::new(Vec::new(), TABLE_LEVEL)?),
        };
        lines.write_all(&line)
    }
}
