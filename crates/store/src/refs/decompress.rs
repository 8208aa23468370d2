//! A compressed layer as a stream of its tar: decompressed and hashed on a thread of its own, beside the one that
//! uses it.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

const INPUT: usize = 128 * 1024;

/// Decompressed data on its way: pieces of this size, this many of them.
const PIECE: usize = 256 * 1024;
const PIECES: usize = 8;

/// What came of using a decompressed archive.
pub(super) struct Used<T> {
    /// What the user of the data returned.
    pub(super) value: T,
    /// The digest of all decompressed data, or why the archive could not be read to its end. It could not if the user
    /// stopped early.
    pub(super) digest: io::Result<String>,
}

/// Gives the decompressed `archive` to `user`. If that reads to the end, so is the archive read to its end.
pub(super) fn decompressed<T>(
    archive: impl Read + Send,
    user: impl FnOnce(&mut dyn Read) -> T,
) -> Used<T> {
    let (sender, pieces) = sync_channel(PIECES);
    thread::scope(|scope| {
        let producer = scope.spawn(move || produce(archive, &sender));
        let mut reader = Pieces {
            pieces,
            current: Vec::new(),
            position: 0,
        };
        let value = user(&mut reader);
        // Ends the producer, if it is not done.
        drop(reader);
        let digest = producer
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("decompression failed")));
        Used { value, digest }
    })
}

fn produce(archive: impl Read, pieces: &SyncSender<io::Result<Vec<u8>>>) -> io::Result<String> {
    let mut archive = BufReader::with_capacity(INPUT, archive);
    let digest = decompress(&mut archive).and_then(|tar| pass_on(tar, pieces));
    let digest = match digest {
        Ok(digest) => digest,
        Err(error) => {
            // The user learns that this is not the end. If it has gone, it does not want to know.
            let _ = pieces.send(Err(io::Error::new(error.kind(), error.to_string())));
            return Err(error);
        }
    };
    // What follows the compressed data belongs to the blob, too.
    io::copy(&mut archive, &mut io::sink())?;
    Ok(digest)
}

/// Recognises the compression by its first bytes, as the field does: media types are not always right.
fn decompress<'r>(archive: &'r mut BufReader<impl Read>) -> io::Result<Box<dyn Read + 'r>> {
    match archive.fill_buf()? {
        [0x1f, 0x8b, ..] => Ok(Box::new(MultiGzDecoder::new(archive))),
        // Streams of seekable and chunked zstd start with a frame that carries no data.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Ok(Box::new(zstd::Decoder::with_buffer(archive)?))
        }
        _ => Ok(Box::new(archive)),
    }
}

fn pass_on(mut tar: impl Read, pieces: &SyncSender<io::Result<Vec<u8>>>) -> io::Result<String> {
    let mut hasher = Sha256::new();
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        (&mut tar).take(PIECE as u64).read_to_end(&mut piece)?;
        if piece.is_empty() {
            return Ok(format!("sha256:{}", hex::encode(hasher.finalize())));
        }
        hasher.update(&piece);
        if pieces.send(Ok(piece)).is_err() {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
    }
}

/// The user's end.
struct Pieces {
    pieces: Receiver<io::Result<Vec<u8>>>,
    current: Vec<u8>,
    position: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.current.len() {
            match self.pieces.recv() {
                Ok(piece) => (self.current, self.position) = (piece?, 0),
                // The producer is done.
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len() - self.position);
        buffer[..count].copy_from_slice(&self.current[self.position..self.position + count]);
        self.position += count;
        Ok(count)
    }
}
