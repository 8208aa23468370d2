//! Writing a layer's changes as a tar.

use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;

use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};

use super::changes::{Change, ChangeKind, changes};
use super::{DiffError, DiffOptions, DiffSummary, LayerSource};
use crate::tar::{EntryKind, Format, Header, WriteError, Writer};
use crate::tree::{Dir, FileKind, Metadata, Name, Root};

const BUFFER: usize = 1 << 20;
const WHITEOUT_PREFIX: &[u8] = b".wh.";
const CAPABILITY: &CStr = c"security.capability";

/// Writes the layer as a tar stream: sorted, with OCI whiteouts, each byte read once. The result equals what upstream's
/// overlay differ writes for the same directories.
///
/// # Errors
/// A file cannot be read, changes its size meanwhile, or the stream cannot be written.
pub fn write_layer(
    source: &LayerSource<'_>,
    out: impl Write,
    options: &DiffOptions,
) -> Result<DiffSummary, DiffError> {
    let upper = Root::open(source.upper).map_err(|error| DiffError::Path {
        path: source.upper.to_owned(),
        source: io::Error::other(error),
    })?;
    let hashed = Hashed {
        out: BufWriter::with_capacity(BUFFER / 4, out),
        hash: Sha256::new(),
        size: 0,
    };
    let mut layer = LayerWriter {
        upper: &upper,
        options: *options,
        tar: Writer::new(hashed),
        entries: 0,
        dirs: HashSet::new(),
        first_names: HashMap::new(),
        waiting_names: HashMap::new(),
        buffer: vec![0; BUFFER],
    };
    changes(source, |change| layer.change(change))?;
    let entries = layer.entries;
    let Hashed { hash, size, .. } = layer.tar.finish()?;
    let diff_id = Digest::try_from(format!("sha256:{}", hex::encode(hash.finalize())))
        .map_err(|error| WriteError::Io(io::Error::other(error)))?;
    Ok(DiffSummary {
        diff_id,
        size,
        entries,
    })
}

struct LayerWriter<'a, W: Write> {
    upper: &'a Root,
    options: DiffOptions,
    tar: Writer<Hashed<W>>,
    entries: u64,
    /// Directories that have a member, without their trailing slash.
    dirs: HashSet<Vec<u8>>,
    /// The member that holds the data of an inode with several names.
    first_names: HashMap<(u64, u64), Vec<u8>>,
    /// Unchanged names of inodes, written if another name of theirs turns out changed.
    waiting_names: HashMap<(u64, u64), Vec<Vec<u8>>>,
    buffer: Vec<u8>,
}

impl<W: Write> LayerWriter<'_, W> {
    fn change(&mut self, change: &Change<'_>) -> Result<(), DiffError> {
        let path = change.path.as_os_str().as_bytes();
        match change.metadata {
            None => self.whiteout(path),
            Some(metadata) => self.entry(change.kind, path, &metadata, (change.dir, change.name)),
        }
    }

    fn whiteout(&mut self, path: &[u8]) -> Result<(), DiffError> {
        let (dir, name) = path.split_at(parent_end(path));
        let header = Header::new([dir, WHITEOUT_PREFIX, name].concat(), EntryKind::File);
        self.parents(path)?;
        self.header(&header)
    }

    fn entry(
        &mut self,
        kind: ChangeKind,
        path: &[u8],
        metadata: &Metadata,
        (dir, name): (&Dir, &CStr),
    ) -> Result<(), DiffError> {
        let fail = |error: io::Error| DiffError::path(path, error);
        let Some(mut header) = self.describe(path, metadata) else {
            return Ok(());
        };
        if metadata.kind == FileKind::Symlink {
            header.link = dir.read_link(name).map_err(fail)?.into_bytes();
        }
        let mut waiting = Vec::new();
        if metadata.is_hard_linked() {
            match self.first_names.get(&metadata.identity()) {
                Some(first) => make_link(&mut header, first.clone()),
                None if kind == ChangeKind::Unmodified => {
                    self.waiting_names
                        .entry(metadata.identity())
                        .or_default()
                        .push(header.name);
                    return Ok(());
                }
                None => {
                    self.first_names
                        .insert(metadata.identity(), header.name.clone());
                    waiting = self
                        .waiting_names
                        .remove(&metadata.identity())
                        .unwrap_or_default();
                }
            }
        }
        if let Some(value) = dir
            .xattr(name, CAPABILITY)
            .map_err(fail)?
            .filter(|value| !value.is_empty())
        {
            header.set_xattr(CAPABILITY.to_bytes(), value);
        }
        self.parents(path)?;
        if header.kind == EntryKind::Directory {
            self.dirs.insert(path.to_vec());
        }
        self.header(&header)?;
        if header.kind == EntryKind::File && header.size > 0 {
            self.data(dir, name, path, header.size)?;
        }
        let first = std::mem::take(&mut header.name);
        for name in waiting {
            self.parents(&name)?;
            header.name = name;
            make_link(&mut header, first.clone());
            self.header(&header)?;
        }
        Ok(())
    }

    /// The header of a file, but for its link; `None` for sockets, which no archive can hold.
    fn describe(&self, path: &[u8], metadata: &Metadata) -> Option<Header> {
        let kind = match metadata.kind {
            FileKind::File => EntryKind::File,
            FileKind::Directory => EntryKind::Directory,
            FileKind::Symlink => EntryKind::Symlink,
            FileKind::CharDevice => EntryKind::CharDevice,
            FileKind::BlockDevice => EntryKind::BlockDevice,
            FileKind::Fifo => EntryKind::Fifo,
            FileKind::Socket => return None,
        };
        let mut header = match kind {
            EntryKind::Directory => Header::directory(path, metadata.mode.into()),
            _ => Header {
                mode: metadata.mode.into(),
                ..Header::new(path, kind)
            },
        };
        header.format = Format::Pax;
        header.uid = metadata.owner.uid.into();
        header.gid = metadata.owner.gid.into();
        header.size = if kind == EntryKind::File {
            metadata.size
        } else {
            0
        };
        header.mtime = metadata.mtime.truncated();
        if let Some(epoch) = self.options.epoch {
            header.mtime.seconds = header.mtime.seconds.min(epoch);
        }
        if matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
            header.dev_major = rustix::fs::major(metadata.rdev).into();
            header.dev_minor = rustix::fs::minor(metadata.rdev).into();
        }
        Some(header)
    }

    /// Writes the directories above a path that have no member yet.
    fn parents(&mut self, path: &[u8]) -> Result<(), DiffError> {
        let parent = &path[..parent_end(path).saturating_sub(1)];
        if parent.is_empty() || !self.dirs.insert(parent.to_vec()) {
            return Ok(());
        }
        let fail = |error: io::Error| DiffError::path(parent, error);
        let Some((dir, name)): Option<(Dir, Name)> =
            self.upper.open_parent(parent).map_err(fail)?
        else {
            return Ok(());
        };
        let metadata = dir.metadata(&name).map_err(fail)?;
        self.entry(ChangeKind::Modify, parent, &metadata, (&dir, &name))
    }

    fn header(&mut self, header: &Header) -> Result<(), DiffError> {
        self.entries += 1;
        Ok(self.tar.header(header)?)
    }

    fn data(&mut self, dir: &Dir, name: &CStr, path: &[u8], size: u64) -> Result<(), DiffError> {
        let fail = |error: io::Error| DiffError::path(path, error);
        let mut file = dir.open_file(name).map_err(fail)?;
        let mut left = size;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER);
            match file.read(&mut self.buffer[..want]) {
                Ok(0) => {
                    let name = String::from_utf8_lossy(path).into_owned();
                    return Err(WriteError::Short {
                        name,
                        missing: left,
                    }
                    .into());
                }
                Ok(read) => {
                    self.tar
                        .write_all(&self.buffer[..read])
                        .map_err(WriteError::Io)?;
                    left -= read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(fail(error)),
            }
        }
        Ok(())
    }
}

fn make_link(header: &mut Header, target: Vec<u8>) {
    header.kind = EntryKind::HardLink;
    header.link = target;
    header.size = 0;
}

/// Where the last component of a path starts.
fn parent_end(path: &[u8]) -> usize {
    path.iter()
        .rposition(|&byte| byte == b'/')
        .map_or(0, |slash| slash + 1)
}

/// Hashes what goes through.
struct Hashed<W: Write> {
    out: BufWriter<W>,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let length = self.out.write(data)?;
        self.hash.update(&data[..length]);
        self.size += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
