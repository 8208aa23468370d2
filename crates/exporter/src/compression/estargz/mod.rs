//! eStargz: a gzip layer whose files can be fetched one by one.
//!
//! Every chunk of a file begins a gzip member of its own. A table of contents, itself a member of the tar, says where
//! each one is and what its digest is; a footer says where the table is. The tar that came in stays as it is, with its
//! end mark. What is added follows the end mark: readers of plain layers, which stop there, see the layer's own files
//! and nothing else.

mod footer;
mod toc;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::str::FromStr;

use kiln_store::tar::{Header, Writer as TarWriter};
use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};

use super::codec::Codec;
use super::file_data::FileData;
use super::flight::Flight;
use super::pool::{Block, Pool};
use super::scan::{Part, Scanner};
use super::{Algorithm, Compression};
use toc::Toc;

/// Bytes of a file in one chunk.
const CHUNK: usize = 4 << 20;
/// A block takes no further chunk once it has so many bytes: small files share one way through the pool.
const FULL: usize = 1 << 20;
const LARGEST: usize = FULL + CHUNK;

/// Tells readers that no file is wanted ahead of the others.
const LANDMARK: &str = ".no.prefetch.landmark";
const LANDMARK_DATA: [u8; 1] = [0xf];

/// Annotation with the digest of the table of contents, by which readers trust it.
pub(crate) const TOC_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";
/// Annotation with the length of the uncompressed layer.
const UNCOMPRESSED_SIZE: &str = "io.containers.estargz.uncompressed-size";

/// Makes an eStargz of the tar that is written to it.
pub struct EstargzWriter<W> {
    body: Body<W>,
    scanner: Scanner,
    toc: Toc,
    file: Option<FileData>,
}

/// What an eStargz is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EstargzSummary {
    /// SHA-256 of the uncompressed layer, with all that was added to it.
    pub diff_id: Digest,
    /// Annotations that its descriptor must have.
    pub annotations: BTreeMap<String, String>,
}

/// The uncompressed bytes, in gzip members.
struct Body<W> {
    flight: Flight<W>,
    block: Option<Block>,
    hash: Sha256,
    size: u64,
}

impl<W: Write> EstargzWriter<W> {
    /// A stream into `sink`, which must be ended by [`Self::finish`].
    pub fn new(pool: &Pool, compression: &Compression, sink: W) -> Self {
        let codec = Codec::new(compression.algorithm, compression.level);
        let body = Body {
            flight: Flight::new(pool, codec, sink),
            block: None,
            hash: Sha256::new(),
            size: 0,
        };
        Self {
            body,
            scanner: Scanner::new(Algorithm::Estargz),
            toc: Toc::new(),
            file: None,
        }
    }

    /// Writes what is left, the landmark, the table and the footer, and gives the sink back.
    pub fn finish(mut self) -> io::Result<(W, EstargzSummary)> {
        self.end_member()?;
        self.write_all(&landmark()?)?;
        self.end_member()?;
        let Self { mut body, toc, .. } = self;
        body.send()?;
        let offset = body.flight.drain()?;
        let table = toc.complete(&body.flight.take_chunks())?;
        let digest = toc::sha256(&Sha256::digest(&table));
        body.member(&as_tar(&table)?)?;
        let mut sink = body.flight.finish()?;
        sink.write_all(&footer::footer(offset))?;
        sink.flush()?;
        let annotations = [
            (TOC_DIGEST.to_owned(), digest),
            (UNCOMPRESSED_SIZE.to_owned(), body.size.to_string()),
        ];
        let summary = EstargzSummary {
            diff_id: Digest::from_str(&toc::sha256(&body.hash.finalize()))
                .map_err(io::Error::other)?,
            annotations: annotations.into(),
        };
        Ok((sink, summary))
    }

    /// Makes sure that the tar does not end within a member, and expects another one.
    fn end_member(&mut self) -> io::Result<()> {
        if !self.scanner.is_complete() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.scanner = Scanner::new(Algorithm::Estargz);
        Ok(())
    }

    fn data(&mut self, mut data: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        while !data.is_empty() {
            if let Some(chunk) = file.begin_chunk() {
                let size = if chunk.is_last { 0 } else { chunk.size };
                self.toc.chunk(chunk.begin, size);
                self.body.chunk(chunk.size as usize)?;
            }
            self.body.put(file.take(&mut data));
            if let Some(digest) = file.digest() {
                self.toc.digest(&digest);
            }
        }
        Ok(())
    }
}

impl<W: Write> Write for EstargzWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut rest = data;
        while !rest.is_empty() {
            let (part, header) = self.scanner.next(&mut rest)?;
            match part {
                Part::Frame(bytes) => self.body.frame(bytes)?,
                Part::Data(bytes) => self.data(bytes)?,
            }
            if let Some(header) = header {
                self.toc.member(&header)?;
                self.file = Some(FileData::new(header.size, CHUNK));
            }
        }
        Ok(data.len())
    }

    /// Members end where files do, so nothing is forced out before the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Body<W> {
    /// Adds bytes that may be anywhere.
    fn frame(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.length() >= LARGEST {
                self.send()?;
            }
            if self.block.is_none() {
                self.begin(None)?;
            }
            let (part, rest) = bytes.split_at(bytes.len().min(LARGEST - self.length()));
            self.put(part);
            bytes = rest;
        }
        Ok(())
    }

    /// Begins a member with a chunk of a file.
    fn chunk(&mut self, length: usize) -> io::Result<()> {
        if self.length() >= FULL {
            self.send()?;
        }
        self.begin(Some(length))
    }

    /// A member of its own, of any length.
    fn member(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send()?;
        let mut block = self.flight.begin(bytes.len())?;
        block.begin(None);
        self.block = Some(block);
        self.put(bytes);
        self.send()
    }

    /// Begins a piece, in a block of its own if there is none.
    fn begin(&mut self, chunk: Option<usize>) -> io::Result<()> {
        let block = match &mut self.block {
            Some(block) => block,
            slot => slot.insert(self.flight.begin(LARGEST)?),
        };
        block.begin(chunk);
        Ok(())
    }

    /// Adds to the piece that was begun.
    fn put(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        if let Some(block) = &mut self.block {
            block.bytes.extend_from_slice(bytes);
        }
    }

    fn length(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.bytes.len())
    }

    fn send(&mut self) -> io::Result<()> {
        match self.block.take() {
            Some(block) => self.flight.send(block),
            None => Ok(()),
        }
    }
}

/// The landmark as a member, without an end mark.
fn landmark() -> io::Result<Vec<u8>> {
    let mut tar = Vec::new();
    let header = Header::file(LANDMARK, LANDMARK_DATA.len() as u64, 0o644);
    TarWriter::new(&mut tar)
        .entry(&header, LANDMARK_DATA.as_slice())
        .map_err(io::Error::other)?;
    Ok(tar)
}

/// The table as the last member of the archive.
fn as_tar(table: &[u8]) -> io::Result<Vec<u8>> {
    let mut tar = TarWriter::new(Vec::new());
    let header = Header::file(toc::NAME, table.len() as u64, 0o644);
    tar.entry(&header, table).map_err(io::Error::other)?;
    tar.finish().map_err(io::Error::other)
}
