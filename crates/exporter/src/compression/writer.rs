//! A stream compressed block by block, in parallel, written in order.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc;

use super::Compression;
use super::codec::Codec;
use super::pool::{Done, Pool, gone};

/// Compresses what is written to it and hands it on to its sink.
pub struct CompressedWriter<W> {
    sink: W,
    codec: Codec,
    block: Vec<u8>,
    spare: Vec<Vec<u8>>,
    flight: VecDeque<mpsc::Receiver<Done>>,
    held: Held,
    begun: bool,
}

/// The blocks of the pool's memory that a stream holds: those in flight and the one being filled.
struct Held {
    pool: Pool,
    blocks: usize,
    block_memory: usize,
}

impl<W: Write> CompressedWriter<W> {
    /// A stream into `sink`. It must be ended by [`Self::finish`], else its tail is lost.
    pub fn new(pool: &Pool, compression: &Compression, sink: W) -> Self {
        let codec = Codec::new(compression.algorithm, compression.level);
        // Input and output of a block are in memory at once; incompressible output is as long as its input.
        let block_memory = codec.block_size().saturating_mul(2);
        Self {
            sink,
            codec,
            block: Vec::new(),
            spare: Vec::new(),
            flight: VecDeque::new(),
            held: Held {
                pool: pool.clone(),
                blocks: 0,
                block_memory,
            },
            begun: false,
        }
    }

    /// Writes what is left and gives the sink back.
    pub fn finish(mut self) -> io::Result<W> {
        // An empty stream is one empty block, because nothing at all is neither gzip nor zstd.
        if self.codec != Codec::Store && (!self.block.is_empty() || !self.begun) {
            self.fill_from(&[])?;
            self.send()?;
        }
        while !self.flight.is_empty() {
            self.receive()?;
        }
        self.sink.flush()?;
        Ok(self.sink)
    }

    /// Adds to the block being filled, beginning one if there is none, and says how much went in.
    fn fill_from(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.held.blocks == self.flight.len() {
            self.begin_block()?;
        }
        let room = self.codec.block_size() - self.block.len();
        let part = &data[..data.len().min(room)];
        self.block.extend_from_slice(part);
        Ok(part.len())
    }

    /// Makes sure that a block to fill is at hand, waiting for the stream's own blocks if memory is short.
    fn begin_block(&mut self) -> io::Result<()> {
        let most = 2 * self.held.pool.threads() + 1;
        while self.flight.len() >= most || !self.held.grow(self.flight.is_empty()) {
            self.receive()?;
        }
        self.begun = true;
        self.block = self.spare.pop().unwrap_or_default();
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        let block = std::mem::take(&mut self.block);
        self.flight
            .push_back(self.held.pool.submit(self.codec, block)?);
        Ok(())
    }

    /// Waits for the oldest block in flight and writes it.
    fn receive(&mut self) -> io::Result<()> {
        let Some(receiver) = self.flight.pop_front() else {
            return Ok(());
        };
        let done = receiver.recv().map_err(|_| gone());
        self.held.shrink();
        let Done { output, spare } = done?;
        self.spare.push(spare);
        self.sink.write_all(&output?)
    }
}

impl Held {
    /// Takes memory for one more block; `need` takes it even where the budget is used up.
    fn grow(&mut self, need: bool) -> bool {
        let grown = self.pool.reserve(self.block_memory, need);
        self.blocks += usize::from(grown);
        grown
    }

    fn shrink(&mut self) {
        self.blocks -= 1;
        self.pool.release(self.block_memory);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        while self.blocks > 0 {
            self.shrink();
        }
    }
}

impl<W: Write> Write for CompressedWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.codec == Codec::Store {
            return self.sink.write(data);
        }
        let taken = self.fill_from(data)?;
        if self.block.len() == self.codec.block_size() {
            self.send()?;
        }
        Ok(taken)
    }

    /// Blocks have a fixed size, so nothing is forced out before the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
