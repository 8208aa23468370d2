//! Threads that compress blocks, and the memory they may use.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use sha2::{Digest as _, Sha256};

use super::codec::{Codec, Codecs};

/// Compression threads shared by all streams, with one budget of memory for all of them.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    threads: usize,
    budget: usize,
    used: AtomicUsize,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

struct Job {
    codec: Codec,
    block: Block,
    reply: mpsc::SyncSender<Done>,
}

/// Bytes that one thread compresses, as one or several self-contained pieces.
#[derive(Default)]
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    /// Each begins where it says and ends where the next one begins. The first begins at 0.
    pub(super) pieces: Vec<Piece>,
}

/// Where a piece of a block begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) start: usize,
    /// Length of the chunk of a file that the piece begins with, whose digest is wanted.
    pub(super) chunk: Option<usize>,
}

/// A chunk of a file within a compressed block.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackedChunk {
    /// Where its piece begins among the compressed bytes.
    pub(super) offset: u64,
    /// Where its piece ends.
    pub(super) end: u64,
    /// SHA-256 of the chunk.
    pub(super) digest: [u8; 32],
}

/// A compressed block, and the memory of its input for further use.
pub(super) struct Done {
    pub(super) packed: io::Result<Packed>,
    pub(super) spare: Vec<u8>,
}

/// The bytes of a compressed block and the chunks in it.
#[derive(Default)]
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    pub(super) chunks: Vec<PackedChunk>,
}

impl Block {
    /// Begins a piece at the end of the bytes.
    pub(super) fn begin(&mut self, chunk: Option<usize>) {
        let start = self.bytes.len();
        self.pieces.push(Piece { start, chunk });
    }
}

impl Pool {
    /// A pool of so many threads (at least one), started when the first block comes, whose streams keep to `memory`
    /// bytes together. Each stream may always hold one block, whatever the budget.
    pub fn new(threads: usize, memory: usize) -> Self {
        let shared = Shared {
            threads: threads.max(1),
            budget: memory,
            used: AtomicUsize::new(0),
            jobs: Mutex::new(None),
        };
        Self(Arc::new(shared))
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.0.threads
    }

    /// Hands over a block; the answer comes through the receiver.
    pub(super) fn submit(&self, codec: Codec, block: Block) -> io::Result<mpsc::Receiver<Done>> {
        let (reply, receiver) = mpsc::sync_channel(1);
        let mut jobs = self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = match &mut *jobs {
            Some(sender) => sender,
            slot => slot.insert(start(self.0.threads)?),
        };
        sender
            .send(Job {
                codec,
                block,
                reply,
            })
            .map_err(|_| gone())?;
        Ok(receiver)
    }

    /// Takes so much of the budget if there is that much left, or in any case if there is a `need`.
    pub(super) fn reserve(&self, bytes: usize, need: bool) -> bool {
        let within =
            |used: usize| Some(used + bytes).filter(|after| need || *after <= self.0.budget);
        self.0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within)
            .is_ok()
    }

    /// Gives back what was taken.
    pub(super) fn release(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

pub(super) fn gone() -> io::Error {
    io::Error::other("a compression thread has ended unexpectedly")
}

/// Starts the threads. They end when the sender is dropped.
fn start(threads: usize) -> io::Result<mpsc::Sender<Job>> {
    let (sender, receiver) = mpsc::channel();
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..threads {
        let receiver = receiver.clone();
        std::thread::Builder::new()
            .name("kiln-compress".into())
            .spawn(move || work(&receiver))?;
    }
    Ok(sender)
}

fn work(jobs: &Mutex<mpsc::Receiver<Job>>) {
    let mut codecs = Codecs::default();
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job {
            codec,
            mut block,
            reply,
        }) = next
        else {
            return;
        };
        let packed = pack(&mut codecs, codec, &block);
        block.bytes.clear();
        // A stream that was dropped no longer waits for its blocks.
        reply
            .send(Done {
                packed,
                spare: block.bytes,
            })
            .ok();
    }
}

fn pack(codecs: &mut Codecs, codec: Codec, block: &Block) -> io::Result<Packed> {
    let mut packed = Packed::default();
    let ends = block.pieces.iter().skip(1).map(|next| next.start);
    for (piece, end) in block.pieces.iter().zip(ends.chain([block.bytes.len()])) {
        let bytes = &block.bytes[piece.start..end];
        let offset = packed.bytes.len() as u64;
        codecs.compress(codec, bytes, &mut packed.bytes)?;
        if let Some(length) = piece.chunk {
            packed.chunks.push(PackedChunk {
                offset,
                end: packed.bytes.len() as u64,
                digest: Sha256::digest(&bytes[..length]).into(),
            });
        }
    }
    packed.bytes.shrink_to_fit();
    Ok(packed)
}
