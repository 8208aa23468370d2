//! Reading the tree of a mount, which steps may go on changing meanwhile.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use kiln_store::tar::{EntryKind, Format, Header, Timestamp, Writer};
use kiln_store::walk::{Detail, Entry, Filter, Kind, Walk, WalkRoot, scan_with, xattr};
use zstd::stream::write::Encoder;

use super::artifact::{MountError, doing};
use super::chunk::{Chunker, LARGEST};
use super::pack::{Pack, Packer};

/// Record of a tree with how many bytes of the data belong to a file.
pub(super) const SIZE: &[u8] = b"KILN.size";
/// Record of a tree with how many bytes before them belong to nothing.
pub(super) const SKIP: &[u8] = b"KILN.skip";

/// Trees are mostly names and zeros.
const LEVEL: i32 = 3;
const BUFFER: usize = 1 << 20;

/// What a mount's tree came to.
pub(super) struct Collected {
    /// The archive of everything but data, compressed.
    pub(super) tree: Vec<u8>,
    pub(super) entries: u64,
    /// The data, as indexes of chunks.
    pub(super) chunks: Vec<usize>,
    /// Files that changed while they were read, and what else could not be had.
    pub(super) left_out: u64,
}

/// Reads a tree and hands on the packs that fill up.
pub(super) fn collect(
    dir: &Path,
    packer: &mut Packer,
    filled: &mut dyn FnMut(Pack) -> Result<(), MountError>,
) -> Result<Collected, MountError> {
    let failed = || format!("read {}", dir.display());
    let root = WalkRoot::open(dir).map_err(doing(failed()))?;
    let entries = entries(&root).map_err(doing(failed()))?;
    let encoder = Encoder::new(Vec::new(), LEVEL).map_err(doing("compress a tree"))?;
    let mut collector = Collector {
        root: &root,
        tree: Writer::new(encoder),
        data: Data {
            chunker: Chunker::default(),
            chunks: Vec::new(),
            packer,
            filled,
        },
        buffer: vec![0; BUFFER],
        linked: HashMap::new(),
        skip: 0,
        entries: 0,
        left_out: 0,
    };
    let own = own_header(dir, &root).map_err(doing(failed()))?;
    collector.write(&own);
    for (entry, detail) in &entries {
        collector.add(entry, detail)?;
    }
    collector.finish()
}

fn entries(root: &WalkRoot) -> io::Result<Vec<(Entry, Detail)>> {
    let (filter, stop) = (Filter::default(), AtomicBool::new(false));
    let walk = Walk {
        filter: &filter,
        passed_by: None,
        stop: &stop,
    };
    scan_with(root, &walk, Detail::of).map_err(|failed| failed.error.into())
}

/// The header of the mount's root.
fn own_header(dir: &Path, root: &WalkRoot) -> io::Result<Header> {
    let metadata = std::fs::metadata(dir)?;
    let mut header = Header::directory("./", i64::from(metadata.mode() & 0o7777));
    header.format = Format::Pax;
    header.mtime = Timestamp {
        seconds: metadata.mtime(),
        nanos: metadata.mtime_nsec() as u32,
    };
    (header.uid, header.gid) = (metadata.uid().into(), metadata.gid().into());
    for (name, value) in xattr::read(root.fd())? {
        header.set_xattr(name.as_bytes(), value);
    }
    Ok(header)
}

struct Collector<'a> {
    root: &'a WalkRoot,
    tree: Writer<Encoder<'static, Vec<u8>>>,
    data: Data<'a>,
    buffer: Vec<u8>,
    /// Files with several names: the first one.
    linked: HashMap<(u64, u64), Vec<u8>>,
    /// Bytes of the data that turned out to belong to nothing.
    skip: u64,
    entries: u64,
    left_out: u64,
}

impl Collector<'_> {
    fn add(&mut self, entry: &Entry, detail: &Detail) -> Result<(), MountError> {
        let Some(mut header) = header(entry, detail) else {
            self.left_out += 1;
            return Ok(());
        };
        let inode = (entry.stamp.device, entry.stamp.inode);
        if let Some(first) = self.linked.get(&inode).filter(|_| entry.stamp.is_linked()) {
            header.kind = EntryKind::HardLink;
            header.link = first.clone();
        } else if header.kind == EntryKind::File {
            let Some(size) = self.read(entry)? else {
                self.left_out += 1;
                return Ok(());
            };
            let skip = std::mem::take(&mut self.skip);
            for (key, value) in [(SIZE, size), (SKIP, skip)] {
                if value > 0 {
                    header
                        .records
                        .insert(key.to_vec(), value.to_string().into());
                }
            }
        }
        if self.write(&header) && entry.stamp.is_linked() && header.kind != EntryKind::HardLink {
            self.linked.insert(inode, entry.path.clone());
        }
        Ok(())
    }

    /// Writes a header, unless it says what no archive can.
    fn write(&mut self, header: &Header) -> bool {
        // The archive is in memory, so nothing but the header can be at fault. What it took of the data is lost.
        let written = self.tree.header(header).is_ok();
        if written {
            self.entries += 1;
        } else {
            let number = |key| header.records.get(key).and_then(|text| number(text));
            self.skip += number(SIZE).unwrap_or(0) + number(SKIP).unwrap_or(0);
            self.left_out += 1;
        }
        written
    }

    /// Reads a file's data; `None` if it is gone or changed meanwhile.
    fn read(&mut self, entry: &Entry) -> Result<Option<u64>, MountError> {
        let Some((mut file, before)) = self.open(entry) else {
            return Ok(None);
        };
        let is_large = before.len() >= LARGEST as u64;
        if is_large {
            // What a large file is cut into shall not depend on its neighbours.
            self.data.flush()?;
        }
        let mut read = 0;
        let complete = loop {
            match file.read(&mut self.buffer) {
                Ok(0) => break true,
                Ok(length) => {
                    read += length as u64;
                    self.data.push(&self.buffer[..length])?;
                    // Somebody goes on writing to it.
                    if read > before.len() {
                        break false;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break false,
            }
        };
        if is_large {
            self.data.flush()?;
        }
        let is_same = |after: Metadata| {
            let stamp = |it: &Metadata| (it.len(), it.mtime(), it.mtime_nsec());
            stamp(&after) == stamp(&before)
        };
        if complete && read == before.len() && file.metadata().is_ok_and(is_same) {
            return Ok(Some(read));
        }
        self.skip += read;
        Ok(None)
    }

    /// Opens a file that still is what the walk has seen.
    fn open(&self, entry: &Entry) -> Option<(File, Metadata)> {
        let file = self.root.file(&entry.path).ok()?;
        let metadata = file.metadata().ok()?;
        let is_same = metadata.is_file()
            && metadata.ino() == entry.stamp.inode
            && metadata.mtime() == entry.stamp.mtime.seconds
            && metadata.mtime_nsec() == i64::from(entry.stamp.mtime.nanos);
        is_same.then_some((file, metadata))
    }

    fn finish(mut self) -> Result<Collected, MountError> {
        self.data.flush()?;
        let compress = || "compress a tree";
        let encoder = self.tree.finish().map_err(doing(compress()))?;
        Ok(Collected {
            tree: encoder.finish().map_err(doing(compress()))?,
            entries: self.entries,
            chunks: self.data.chunks,
            left_out: self.left_out,
        })
    }
}

/// The data of files on its way into packs.
struct Data<'a> {
    chunker: Chunker,
    chunks: Vec<usize>,
    packer: &'a mut Packer,
    filled: &'a mut dyn FnMut(Pack) -> Result<(), MountError>,
}

impl Data<'_> {
    fn push(&mut self, data: &[u8]) -> Result<(), MountError> {
        let (chunks, packer, filled) = (&mut self.chunks, &mut *self.packer, &mut *self.filled);
        self.chunker
            .push(data, |chunk| keep(chunk, chunks, packer, filled))
    }

    fn flush(&mut self) -> Result<(), MountError> {
        let (chunks, packer, filled) = (&mut self.chunks, &mut *self.packer, &mut *self.filled);
        self.chunker
            .flush(|chunk| keep(chunk, chunks, packer, filled))
    }
}

fn keep(
    chunk: &[u8],
    chunks: &mut Vec<usize>,
    packer: &mut Packer,
    filled: &mut dyn FnMut(Pack) -> Result<(), MountError>,
) -> Result<(), MountError> {
    let (index, pack) = packer.add(chunk).map_err(doing("compress a chunk"))?;
    chunks.push(index);
    pack.map_or(Ok(()), filled)
}

/// An entry's header; `None` for what is never copied.
fn header(entry: &Entry, detail: &Detail) -> Option<Header> {
    let kind = match entry.stamp.kind {
        Kind::Directory => EntryKind::Directory,
        Kind::File => EntryKind::File,
        Kind::Symlink => EntryKind::Symlink,
        Kind::Fifo => EntryKind::Fifo,
        Kind::CharDevice => EntryKind::CharDevice,
        Kind::BlockDevice => EntryKind::BlockDevice,
        Kind::Socket => return None,
    };
    let mode = i64::from(entry.stamp.mode);
    let mut header = match kind {
        EntryKind::Directory => Header::directory(entry.path.clone(), mode),
        _ => Header {
            mode,
            ..Header::new(entry.path.clone(), kind)
        },
    };
    header.format = Format::Pax;
    header.link = detail.target.clone();
    (header.uid, header.gid) = (detail.owner.0.into(), detail.owner.1.into());
    header.mtime = Timestamp {
        seconds: entry.stamp.mtime.seconds,
        nanos: entry.stamp.mtime.nanos,
    };
    // Major and minor number as glibc lays them out.
    let device = entry.stamp.rdev;
    header.dev_major = ((device >> 8 & 0xfff) | (device >> 32 & 0xffff_f000)) as i64;
    header.dev_minor = ((device & 0xff) | (device >> 12 & 0xffff_ff00)) as i64;
    for (name, value) in &detail.xattrs {
        header.set_xattr(name.as_bytes(), value.clone());
    }
    Some(header)
}

/// A number in a record.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
