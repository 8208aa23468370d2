//! Putting a tree and its data together again.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use kiln_store::tar::{EntryKind, Format, Header, Limits, Reader, Writer};
use kiln_store::tree::Root;
use sha2::{Digest as _, Sha256};
use zstd::bulk::Decompressor;
use zstd::stream::read::Decoder;

use super::artifact::{MountError, doing};
use super::collect::{SIZE, SKIP, number};
use super::index::{Chunk, Index, Mount};

/// What a tree may expand to: headers of about a kilobyte, for as many entries as a layer may have.
const LARGEST_TREE: u64 = 16 << 30;

/// A mount as it was kept, fetched.
pub struct KeptTree {
    pub(super) index: Arc<Index>,
    pub(super) mount: Mount,
    /// The archive of everything but data, compressed.
    pub(super) tree: Vec<u8>,
    /// The packs of the index, as far as the mount needs them.
    pub(super) packs: Vec<Option<File>>,
}

impl KeptTree {
    /// How many bytes its files come to.
    pub fn size(&self) -> u64 {
        self.index.size_of(&self.mount)
    }

    /// Writes all files into an empty directory. Whatever a tree says, nothing is written outside of it. After an error,
    /// the directory has a part of it. Blocks.
    pub fn unpack(self, dir: &Path) -> Result<(), MountError> {
        let failed = || format!("restore cache mount {}", self.mount.id);
        let root = Root::open(dir).map_err(doing(failed()))?;
        let tree = Decoder::new(&*self.tree).map_err(doing(failed()))?;
        let data = Data::new(&self).map_err(doing(failed()))?;
        let (reader, writer) = io::pipe().map_err(doing(failed()))?;
        let (joined, unpacked) = std::thread::scope(|scope| {
            let joining = scope.spawn(move || rejoin(tree.take(LARGEST_TREE), data, writer));
            let unpacked = root.unpack(reader, Limits::default());
            (joining.join(), unpacked)
        });
        match joined {
            // Whoever reads went first if nobody reads any more.
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe || unpacked.is_ok() => {
                Err(doing(failed())(error))
            }
            Err(_) => Err(doing(failed())("the work ended unexpectedly")),
            Ok(_) => unpacked.map_err(doing(failed())),
        }
    }
}

/// Writes the archive whose files have their data.
fn rejoin(tree: impl Read, mut data: impl Read, out: impl Write) -> io::Result<()> {
    let mut tree = Reader::new(tree);
    let mut writer = Writer::new(out);
    while let Some(mut header) = tree.next_header()? {
        let skip = take(&mut header, SKIP)?;
        let size = take(&mut header, SIZE)?;
        if io::copy(&mut data.by_ref().take(skip), &mut io::sink())? < skip {
            return Err(invalid("its data ends early".into()));
        }
        header.format = Format::Pax;
        header.size = match header.kind {
            EntryKind::File => size,
            _ => 0,
        };
        let written = writer.entry(&header, &mut data);
        written.map_err(|error| match error {
            kiln_store::tar::WriteError::Io(error) => error,
            error => invalid(error.to_string()),
        })?;
    }
    writer.finish().map(drop).map_err(io::Error::other)
}

fn take(header: &mut Header, key: &[u8]) -> io::Result<u64> {
    match header.records.remove(key) {
        None => Ok(0),
        Some(text) => {
            number(&text).ok_or_else(|| invalid("its tree has a record that is no number".into()))
        }
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// The data of a mount, chunk by chunk.
struct Data<'a> {
    index: &'a Index,
    rest: std::slice::Iter<'a, usize>,
    packs: &'a [Option<File>],
    decompressor: Decompressor<'static>,
    chunk: Vec<u8>,
    at: usize,
}

impl<'a> Data<'a> {
    fn new(stored: &'a KeptTree) -> io::Result<Self> {
        Ok(Self {
            index: &stored.index,
            rest: stored.mount.chunks.iter(),
            packs: &stored.packs,
            decompressor: Decompressor::new()?,
            chunk: Vec::new(),
            at: 0,
        })
    }

    /// Reads a chunk, which must be what its digest says and no longer.
    fn chunk(&mut self, chunk: &Chunk) -> io::Result<Vec<u8>> {
        let damaged = |why: &str| invalid(format!("chunk {} is damaged: {why}", chunk.digest));
        let pack = self.packs.get(chunk.pack).and_then(Option::as_ref);
        let pack = pack.ok_or_else(|| damaged("its pack is missing"))?;
        let mut stored = vec![0; chunk.stored as usize];
        pack.read_exact_at(&mut stored, chunk.offset)
            .map_err(|error| damaged(&error.to_string()))?;
        let length = chunk.length as usize;
        let bytes = self
            .decompressor
            .decompress(&stored, length)
            .map_err(|error| damaged(&error.to_string()))?;
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(&bytes)));
        match bytes.len() == length && digest == chunk.digest {
            true => Ok(bytes),
            false => Err(damaged(&format!("it has the digest {digest}"))),
        }
    }
}

impl Read for Data<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            let next = self.rest.next();
            let Some(chunk) = next.and_then(|at| self.index.chunks.get(*at)) else {
                return Ok(0);
            };
            self.chunk = self.chunk(chunk)?;
            self.at = 0;
        }
        let length = buffer.len().min(self.chunk.len() - self.at);
        buffer[..length].copy_from_slice(&self.chunk[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}
