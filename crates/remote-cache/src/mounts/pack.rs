//! Putting chunks into packs, unless they are in one already.

use std::collections::HashMap;
use std::io;

use sha2::{Digest as _, Sha256};
use zstd::bulk::Compressor;

use super::index::{Blob, Chunk, Index};

/// A pack is complete when it has as much.
const ENOUGH: usize = 32 << 20;
/// Chunks are small, and disks and networks slow: more costs more than it saves.
const LEVEL: i32 = 3;

type Key = [u8; 32];

/// A pack to be written.
pub(super) struct Pack {
    pub(super) blob: Blob,
    pub(super) bytes: Vec<u8>,
}

/// Where a chunk is.
#[derive(Clone, Copy)]
enum Place {
    /// In a pack that was written before, by its index there.
    Old(usize),
    New(Spot),
}

#[derive(Clone, Copy)]
struct Spot {
    pack: usize,
    offset: u64,
    stored: u64,
    length: u64,
}

/// What is in packs so far.
pub(super) struct Packer {
    /// What was written before, and which chunks of it can be had.
    old: Index,
    old_chunks: HashMap<Key, usize>,
    chunks: Vec<(Key, Place)>,
    known: HashMap<Key, usize>,
    pack: Vec<u8>,
    blobs: Vec<Blob>,
    compressor: Compressor<'static>,
}

impl Packer {
    /// Uses the chunks of an older index that are in packs which are `there`.
    pub(super) fn new(old: Index, there: &[bool]) -> io::Result<Self> {
        let is_there = |chunk: &Chunk| there.get(chunk.pack).copied().unwrap_or(false);
        let chunks = old.chunks.iter().enumerate();
        let chunks = chunks.filter(|(_, chunk)| is_there(chunk));
        let old_chunks = chunks.filter_map(|(at, chunk)| Some((key(&chunk.digest)?, at)));
        Ok(Self {
            old_chunks: old_chunks.collect(),
            old,
            chunks: Vec::new(),
            known: HashMap::new(),
            pack: Vec::new(),
            blobs: Vec::new(),
            compressor: Compressor::new(LEVEL)?,
        })
    }

    /// The index of a chunk, and the pack that it filled.
    pub(super) fn add(&mut self, data: &[u8]) -> io::Result<(usize, Option<Pack>)> {
        let key: Key = Sha256::digest(data).into();
        if let Some(known) = self.known.get(&key) {
            return Ok((*known, None));
        }
        let length = data.len() as u64;
        let old = self.old_chunks.get(&key).copied();
        let old = old.filter(|at| self.old.chunks[*at].length == length);
        let (place, pack) = match old {
            Some(old) => (Place::Old(old), None),
            None => {
                let bytes = self.compressor.compress(data)?;
                let (spot, pack) = self.store(&bytes, length);
                (Place::New(spot), pack)
            }
        };
        Ok((self.insert(key, place), pack))
    }

    /// Takes a mount's chunks over from the older index; `None` if one cannot be had any more.
    pub(super) fn take_over(&mut self, chunks: &[usize]) -> Option<Vec<usize>> {
        let keys = chunks
            .iter()
            .map(|at| key(&self.old.chunks.get(*at)?.digest));
        let keys: Vec<Key> = keys.collect::<Option<_>>()?;
        if !keys.iter().all(|key| self.old_chunks.contains_key(key)) {
            return None;
        }
        let chunks = keys.into_iter().map(|key| match self.known.get(&key) {
            Some(known) => *known,
            None => self.insert(key, Place::Old(self.old_chunks[&key])),
        });
        Some(chunks.collect())
    }

    fn insert(&mut self, key: Key, place: Place) -> usize {
        self.chunks.push((key, place));
        self.known.insert(key, self.chunks.len() - 1);
        self.chunks.len() - 1
    }

    fn store(&mut self, bytes: &[u8], length: u64) -> (Spot, Option<Pack>) {
        let spot = Spot {
            pack: self.blobs.len(),
            offset: self.pack.len() as u64,
            stored: bytes.len() as u64,
            length,
        };
        self.pack.extend_from_slice(bytes);
        let pack = (self.pack.len() >= ENOUGH).then(|| self.close());
        (spot, pack.flatten())
    }

    fn close(&mut self) -> Option<Pack> {
        let bytes = std::mem::take(&mut self.pack);
        if bytes.is_empty() {
            return None;
        }
        let blob = Blob {
            digest: format!("sha256:{}", hex::encode(Sha256::digest(&bytes))),
            size: bytes.len() as u64,
        };
        self.blobs.push(blob.clone());
        Some(Pack { blob, bytes })
    }

    /// Older packs of which less than half is still used, by their index. They are to be [moved](Self::move_from).
    pub(super) fn sparse(&self) -> Vec<(usize, Blob)> {
        let used = self.used();
        let packs = self.old.packs.iter().enumerate();
        let sparse = packs.filter(|(at, pack)| used[*at] > 0 && used[*at] * 2 < pack.size);
        sparse.map(|(at, pack)| (at, pack.clone())).collect()
    }

    /// How many bytes of each older pack are used.
    fn used(&self) -> Vec<u64> {
        let mut used = vec![0; self.old.packs.len()];
        for (_, place) in &self.chunks {
            if let Place::Old(at) = place {
                let chunk = &self.old.chunks[*at];
                used[chunk.pack] += chunk.stored;
            }
        }
        used
    }

    /// Moves what is used of an older pack, given what is in it, and hands on the packs that fill up.
    pub(super) fn move_from(&mut self, pack: usize, bytes: &[u8]) -> Vec<Pack> {
        let mut filled = Vec::new();
        for at in 0..self.chunks.len() {
            let Place::Old(old) = self.chunks[at].1 else {
                continue;
            };
            let chunk = &self.old.chunks[old];
            let (offset, length) = (chunk.offset as usize, chunk.length);
            let end = offset + chunk.stored as usize;
            if let Some(stored) = bytes.get(offset..end)
                && chunk.pack == pack
            {
                let (spot, full) = self.store(stored, length);
                self.chunks[at].1 = Place::New(spot);
                filled.extend(full);
            }
        }
        filled
    }

    /// The chunks and packs of an index, older packs first, and the last pack to be written.
    pub(super) fn finish(mut self) -> (Vec<Chunk>, Vec<Blob>, Option<Pack>) {
        let last = self.close();
        let used = self.used();
        let mut packs = Vec::new();
        let mut new_places = vec![0; used.len()];
        for (at, pack) in self.old.packs.iter().enumerate() {
            if used[at] > 0 {
                new_places[at] = packs.len();
                packs.push(pack.clone());
            }
        }
        let kept = packs.len();
        packs.append(&mut self.blobs);
        let chunk = |(key, place): &(Key, Place)| match place {
            Place::Old(at) => {
                let chunk = &self.old.chunks[*at];
                Chunk {
                    pack: new_places[chunk.pack],
                    ..chunk.clone()
                }
            }
            Place::New(spot) => Chunk {
                digest: format!("sha256:{}", hex::encode(key)),
                length: spot.length,
                pack: kept + spot.pack,
                offset: spot.offset,
                stored: spot.stored,
            },
        };
        (self.chunks.iter().map(chunk).collect(), packs, last)
    }
}

fn key(digest: &str) -> Option<Key> {
    let mut key = [0; 32];
    hex::decode_to_slice(digest.strip_prefix("sha256:")?, &mut key).ok()?;
    Some(key)
}
