//! A stream compressed block by block, in parallel, written in order.

use std::io::{self, Write};

use super::Compression;
use super::codec::Codec;
use super::flight::Flight;
use super::pool::{Block, Pool};

/// Compresses what is written to it and hands it on to its sink.
pub struct CompressedWriter<W> {
    flight: Flight<W>,
    /// The block being filled.
    block: Option<Block>,
    begun: bool,
}

impl<W: Write> CompressedWriter<W> {
    /// A stream into `sink`. It must be ended by [`Self::finish`], else its tail is lost.
    pub fn new(pool: &Pool, compression: &Compression, sink: W) -> Self {
        let codec = Codec::new(compression.algorithm, compression.level);
        Self {
            flight: Flight::new(pool, codec, sink),
            block: None,
            begun: false,
        }
    }

    /// Writes what is left and gives the sink back.
    pub fn finish(mut self) -> io::Result<W> {
        // An empty stream is one empty block, because nothing at all is neither gzip nor zstd.
        if self.flight.codec() != Codec::Store && !self.begun {
            self.fill_from(&[])?;
        }
        self.send()?;
        self.flight.finish()
    }

    /// Adds to the block being filled, beginning one if there is none, and says how much went in.
    fn fill_from(&mut self, data: &[u8]) -> io::Result<usize> {
        let size = self.flight.codec().block_size();
        let block = match &mut self.block {
            Some(block) => block,
            slot => {
                let mut block = self.flight.begin(size)?;
                block.begin(None);
                slot.insert(block)
            }
        };
        self.begun = true;
        let part = &data[..data.len().min(size - block.bytes.len())];
        block.bytes.extend_from_slice(part);
        if block.bytes.len() == size {
            self.send()?;
        }
        Ok(part.len())
    }

    fn send(&mut self) -> io::Result<()> {
        match self.block.take() {
            Some(block) => self.flight.send(block),
            None => Ok(()),
        }
    }
}

impl<W: Write> Write for CompressedWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self.flight.codec() {
            Codec::Store => self.flight.sink().write(data),
            _ => self.fill_from(data),
        }
    }

    /// Blocks have a fixed size, so nothing is forced out before the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
