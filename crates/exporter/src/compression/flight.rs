//! Blocks of one stream on their way through the pool, written in order.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc;

use super::codec::Codec;
use super::pool::{Block, Done, PackedChunk, Pool, gone};

/// Sends blocks to the pool and writes what comes back to its sink, in the order they were sent.
pub(super) struct Flight<W> {
    sink: W,
    codec: Codec,
    spare: Vec<Vec<u8>>,
    waiting: VecDeque<Waiting>,
    held: Held,
    /// Bytes of the block that was begun but not sent.
    begun: usize,
    written: u64,
    chunks: Vec<PackedChunk>,
}

/// A block in flight.
struct Waiting {
    done: mpsc::Receiver<Done>,
    bytes: usize,
}

/// What a stream holds of the pool's memory.
struct Held {
    pool: Pool,
    bytes: usize,
}

impl<W: Write> Flight<W> {
    pub(super) fn new(pool: &Pool, codec: Codec, sink: W) -> Self {
        Self {
            sink,
            codec,
            spare: Vec::new(),
            waiting: VecDeque::new(),
            held: Held {
                pool: pool.clone(),
                bytes: 0,
            },
            begun: 0,
            written: 0,
            chunks: Vec::new(),
        }
    }

    pub(super) fn codec(&self) -> Codec {
        self.codec
    }

    /// Writes past the pool. Nothing may be in flight.
    pub(super) fn sink(&mut self) -> &mut W {
        &mut self.sink
    }

    /// A block for at most so many bytes, waiting for the stream's own blocks if there is not enough. What
    /// was begun must be sent before the next block is begun.
    pub(super) fn begin(&mut self, largest: usize) -> io::Result<Block> {
        let most = 2 * self.held.pool.threads() + 1;
        // Input and output of a block are in memory at once; incompressible output is as long as its input.
        let bytes = largest.saturating_mul(2);
        while self.waiting.len() >= most || !self.held.grow(bytes, self.waiting.is_empty()) {
            self.receive()?;
        }
        self.begun = bytes;
        Ok(Block {
            bytes: self.spare.pop().unwrap_or_default(),
            pieces: Vec::new(),
        })
    }

    /// Sends the block that was begun, which keeps only as much of the memory as it uses.
    pub(super) fn send(&mut self, block: Block) -> io::Result<()> {
        let bytes = block.bytes.len().saturating_mul(2).min(self.begun);
        self.held.shrink(self.begun - bytes);
        self.begun = 0;
        let done = self.held.pool.submit(self.codec, block)?;
        self.waiting.push_back(Waiting { done, bytes });
        Ok(())
    }

    /// Writes everything that is in flight; answers how much was written in all.
    pub(super) fn drain(&mut self) -> io::Result<u64> {
        while !self.waiting.is_empty() {
            self.receive()?;
        }
        Ok(self.written)
    }

    /// The chunks of all blocks that were written, in order.
    pub(super) fn take_chunks(&mut self) -> Vec<PackedChunk> {
        std::mem::take(&mut self.chunks)
    }

    /// Writes what is left and gives the sink back.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.drain()?;
        self.sink.flush()?;
        Ok(self.sink)
    }

    /// Waits for the oldest block in flight and writes it.
    fn receive(&mut self) -> io::Result<()> {
        let Some(Waiting { done, bytes }) = self.waiting.pop_front() else {
            return Ok(());
        };
        let done = done.recv().map_err(|_| gone());
        self.held.shrink(bytes);
        let Done { packed, spare } = done?;
        self.spare.push(spare);
        let packed = packed?;
        let begin = self.written;
        self.chunks
            .extend(packed.chunks.into_iter().map(|chunk| PackedChunk {
                offset: begin + chunk.offset,
                end: begin + chunk.end,
                ..chunk
            }));
        self.written += packed.bytes.len() as u64;
        self.sink.write_all(&packed.bytes)
    }
}

impl Held {
    /// Takes memory; `need` takes it even where the budget is used up.
    fn grow(&mut self, bytes: usize, need: bool) -> bool {
        let grown = self.pool.reserve(bytes, need);
        if grown {
            self.bytes += bytes;
        }
        grown
    }

    fn shrink(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.pool.release(bytes);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}
