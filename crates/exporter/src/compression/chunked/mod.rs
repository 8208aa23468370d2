//! zstd:chunked: a Zstandard layer whose files can be fetched one by one, as containers/storage does.
//!
//! Every chunk of a file is a frame of its own; what lies between files is in other frames. The tar stays as it is.
//! Three skippable frames follow, which ordinary readers leave out: a table of contents, what of the tar is no file's
//! data (for those that have fetched the files alone and want the whole tar, whose digest is the image's), and a footer
//! that says where both are. Annotations say that, too, and what the table's digest is.

mod tail;
mod tar_split;
mod toc;

use std::collections::BTreeMap;
use std::io::{self, Write};

use kiln_store::tar::Header;

use super::codec::Codec;
use super::file_data::FileData;
use super::flight::Flight;
use super::pool::{Block, Pool};
use super::scan::{Part, Scanner};
use super::{Algorithm, Compression};
pub(crate) use tail::MANIFEST_CHECKSUM;
use tar_split::TarSplit;
use toc::Toc;

/// Bytes of a file in one chunk.
const CHUNK: usize = 1 << 20;
/// A block takes no further chunk once it has so many bytes: small files share one way through the pool.
const FULL: usize = 1 << 20;
const LARGEST: usize = FULL + CHUNK;

/// Makes a zstd:chunked layer of the tar that is written to it.
pub struct ZstdChunkedWriter<W> {
    body: Body<W>,
    scanner: Scanner,
    toc: Toc,
    tar_split: TarSplit,
    file: Option<FileData>,
}

/// The tar in frames.
struct Body<W> {
    flight: Flight<W>,
    block: Option<Block>,
    /// Whether bytes that are no file's data may be added to the last frame.
    is_open: bool,
}

impl<W: Write> ZstdChunkedWriter<W> {
    /// A stream into `sink`, which must be ended by [`Self::finish`].
    pub fn new(pool: &Pool, compression: &Compression, sink: W) -> Self {
        let codec = Codec::new(compression.algorithm, compression.level);
        let body = Body {
            flight: Flight::new(pool, codec, sink),
            block: None,
            is_open: false,
        };
        Self {
            body,
            scanner: Scanner::new(Algorithm::ZstdChunked),
            toc: Toc::default(),
            tar_split: TarSplit::default(),
            file: None,
        }
    }

    /// Writes what is left, the tables and the footer, and gives the sink back, and the annotations that the layer's
    /// descriptor must have.
    pub fn finish(self) -> io::Result<(W, BTreeMap<String, String>)> {
        if !self.scanner.is_complete() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Self {
            mut body,
            toc,
            tar_split,
            ..
        } = self;
        body.send()?;
        let offset = body.flight.drain()?;
        let chunks = body.flight.take_chunks();
        let mut sink = body.flight.finish()?;
        let tar_split = tar_split.finish()?;
        let toc = toc.complete(&chunks, &tar_split)?;
        let annotations = tail::write(&mut sink, offset, &toc, &tar_split)?;
        sink.flush()?;
        Ok((sink, annotations))
    }

    fn member(&mut self, header: &Header) -> io::Result<()> {
        self.toc.member(header)?;
        self.tar_split.member(header)?;
        self.file = Some(FileData::new(header.size, CHUNK));
        Ok(())
    }

    fn data(&mut self, mut data: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        self.tar_split.data(data)?;
        while !data.is_empty() {
            if let Some(chunk) = file.begin_chunk() {
                self.toc.chunk(chunk.begin, chunk.size);
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

impl<W: Write> Write for ZstdChunkedWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut rest = data;
        while !rest.is_empty() {
            let (part, header) = self.scanner.next(&mut rest)?;
            match part {
                Part::Frame(bytes) => {
                    self.tar_split.frame(bytes)?;
                    self.body.frame(bytes)?;
                }
                Part::Data(bytes) => self.data(bytes)?,
            }
            if let Some(header) = header {
                self.member(&header)?;
            }
        }
        Ok(data.len())
    }

    /// Frames end where files do, so nothing is forced out before the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Body<W> {
    /// Adds bytes that are no file's data.
    fn frame(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.length() >= LARGEST {
                self.send()?;
            }
            if self.block.is_none() || !self.is_open {
                self.begin(None)?;
            }
            let (part, rest) = bytes.split_at(bytes.len().min(LARGEST - self.length()));
            self.put(part);
            bytes = rest;
        }
        Ok(())
    }

    /// Begins a frame with a chunk of a file.
    fn chunk(&mut self, length: usize) -> io::Result<()> {
        if self.length() >= FULL {
            self.send()?;
        }
        self.begin(Some(length))
    }

    /// Begins a frame, in a block of its own if there is none.
    fn begin(&mut self, chunk: Option<usize>) -> io::Result<()> {
        let block = match &mut self.block {
            Some(block) => block,
            slot => slot.insert(self.flight.begin(LARGEST)?),
        };
        block.begin(chunk);
        self.is_open = chunk.is_none();
        Ok(())
    }

    /// Adds to the frame that was begun.
    fn put(&mut self, bytes: &[u8]) {
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
