//! The data of one file on its way into a layer whose files can be fetched one by one: cut into chunks, and hashed
//! where that takes more than one.

use sha2::{Digest as _, Sha256};

/// A file whose data is coming.
pub(super) struct FileData {
    chunk_size: u64,
    left: u64,
    done: u64,
    /// Bytes left of the chunk that was begun.
    chunk_left: u64,
    /// Only for files of several chunks: the digest of a single one is that of the file.
    hash: Option<Sha256>,
}

/// Where a chunk is in its file.
#[derive(Clone, Copy)]
pub(super) struct Chunk {
    pub(super) begin: u64,
    pub(super) size: u64,
    pub(super) is_last: bool,
}

impl FileData {
    /// A file of `size` bytes in chunks of `chunk_size`.
    pub(super) fn new(size: u64, chunk_size: usize) -> Self {
        let chunk_size = chunk_size as u64;
        Self {
            chunk_size,
            left: size,
            done: 0,
            chunk_left: 0,
            hash: (size > chunk_size).then(Sha256::new),
        }
    }

    /// The chunk that begins with the next byte, if one does.
    pub(super) fn begin_chunk(&mut self) -> Option<Chunk> {
        if self.chunk_left > 0 {
            return None;
        }
        self.chunk_left = self.left.min(self.chunk_size);
        Some(Chunk {
            begin: self.done,
            size: self.chunk_left,
            is_last: self.chunk_left == self.left,
        })
    }

    /// Takes what belongs to the chunk that was begun.
    pub(super) fn take<'a>(&mut self, data: &mut &'a [u8]) -> &'a [u8] {
        let length = data.len().min(self.chunk_left as usize);
        let (part, rest) = data.split_at(length);
        *data = rest;
        self.chunk_left -= length as u64;
        self.left -= length as u64;
        self.done += length as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(part);
        }
        part
    }

    /// The digest of a file of several chunks, once all of it has been taken.
    pub(super) fn digest(&mut self) -> Option<[u8; 32]> {
        if self.left > 0 {
            return None;
        }
        self.hash.take().map(|hash| hash.finalize().into())
    }
}
