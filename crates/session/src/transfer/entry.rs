//! One file of a tree, as it is announced.

use bytes::Bytes;
use kiln_protocol::fsutil::Stat;
use prost::Message as _;

use super::error::TransferError;

/// Bits of a mode as Go counts them.
mod go {
    pub(super) const DIRECTORY: u32 = 1 << 31;
    pub(super) const SYMLINK: u32 = 1 << 27;
    pub(super) const DEVICE: u32 = 1 << 26;
    pub(super) const PIPE: u32 = 1 << 25;
    pub(super) const SOCKET: u32 = 1 << 24;
    pub(super) const SETUID: u32 = 1 << 23;
    pub(super) const SETGID: u32 = 1 << 22;
    pub(super) const CHARACTER: u32 = 1 << 21;
    pub(super) const STICKY: u32 = 1 << 20;
    pub(super) const IRREGULAR: u32 = 1 << 19;
    pub(super) const TYPE: u32 =
        DIRECTORY | SYMLINK | DEVICE | PIPE | SOCKET | CHARACTER | IRREGULAR;
}

/// The longest path, and target of a link.
const MAX_PATH: usize = 4095;

/// What something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// Another name of the file at this path, which comes before.
    Link(Vec<u8>),
    /// A symbolic link to this.
    Symlink(Vec<u8>),
    /// A named pipe.
    Pipe,
    /// A character device with this number.
    CharDevice(u64),
    /// A block device with this number.
    BlockDevice(u64),
}

/// One file, directory or other thing of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Where it is, from the top of the tree. Clean and relative.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, with set-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes, of a file; each of its names has them.
    pub size: u64,
    /// When it was changed, in nanoseconds since 1970.
    pub mtime: i64,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

impl TreeEntry {
    /// The directory it is in, empty at the top, and its own name.
    pub fn split(&self) -> (&[u8], &[u8]) {
        split(&self.path)
    }

    /// The time of change as seconds and nanoseconds.
    pub fn mtime_parts(&self) -> (i64, u32) {
        let (seconds, nanos) = (
            self.mtime.div_euclid(1_000_000_000),
            self.mtime.rem_euclid(1_000_000_000),
        );
        (seconds, nanos as u32)
    }

    /// The message that announces it.
    pub fn to_stat(&self) -> Stat {
        let (kind, link, device) = match &self.kind {
            EntryKind::Directory => (go::DIRECTORY, None, 0),
            EntryKind::File => (0, None, 0),
            EntryKind::Link(target) => (0, Some(target), 0),
            EntryKind::Symlink(target) => (go::SYMLINK, Some(target), 0),
            EntryKind::Pipe => (go::PIPE, None, 0),
            EntryKind::CharDevice(device) => (go::DEVICE | go::CHARACTER, None, *device),
            EntryKind::BlockDevice(device) => (go::DEVICE, None, *device),
        };
        let mut mode = kind | self.mode & 0o777;
        for (bit, go) in [
            (0o4000, go::SETUID),
            (0o2000, go::SETGID),
            (0o1000, go::STICKY),
        ] {
            if self.mode & bit != 0 {
                mode |= go;
            }
        }
        let attributes = self.xattrs.iter();
        Stat {
            path: Bytes::copy_from_slice(&self.path),
            mode,
            uid: self.uid,
            gid: self.gid,
            size: match &self.kind {
                EntryKind::Symlink(target) => target.len() as i64,
                _ => i64::try_from(self.size).unwrap_or(i64::MAX),
            },
            mod_time: self.mtime,
            linkname: link.map_or_else(Bytes::new, |link| Bytes::copy_from_slice(link)),
            devmajor: rustix::fs::major(device).into(),
            devminor: rustix::fs::minor(device).into(),
            xattrs: attributes
                .map(|(name, value)| (name.clone(), Bytes::copy_from_slice(value)))
                .collect(),
        }
    }

    /// The message that announces it, as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_stat().encode_to_vec()
    }

    /// Reads what [`TreeEntry::to_bytes`] gave; `None` if it is damaged.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_stat(&Stat::decode(bytes).ok()?).ok()
    }

    /// Reads an announcement.
    ///
    /// # Errors
    /// The path is not clean or leads outside, the type is unknown, or a number is out of bounds.
    pub fn from_stat(stat: &Stat) -> Result<Self, TransferError> {
        check_path(&stat.path)?;
        let refused = |reason| TransferError::path(&stat.path, reason);
        if stat.linkname.len() > MAX_PATH || stat.linkname.contains(&0) {
            return Err(refused("the target of the link is no path"));
        }
        let kind = match stat.mode & go::TYPE {
            go::DIRECTORY => EntryKind::Directory,
            go::SYMLINK if stat.linkname.is_empty() => {
                return Err(refused("a symbolic link without target"));
            }
            go::SYMLINK => EntryKind::Symlink(stat.linkname.to_vec()),
            go::PIPE => EntryKind::Pipe,
            go::DEVICE => EntryKind::BlockDevice(device(stat)?),
            kind if kind & !go::DEVICE == go::CHARACTER => EntryKind::CharDevice(device(stat)?),
            0 if !stat.linkname.is_empty() => EntryKind::Link(stat.linkname.to_vec()),
            0 => EntryKind::File,
            _ => return Err(refused("it is of an unknown type")),
        };
        let mut mode = stat.mode & 0o777;
        for (bit, go) in [
            (0o4000, go::SETUID),
            (0o2000, go::SETGID),
            (0o1000, go::STICKY),
        ] {
            if stat.mode & go != 0 {
                mode |= bit;
            }
        }
        let size = match kind {
            EntryKind::File | EntryKind::Link(_) => {
                u64::try_from(stat.size).map_err(|_| refused("its size is negative"))?
            }
            _ => 0,
        };
        let carried = stat
            .xattrs
            .iter()
            .filter(|(name, _)| kiln_store::walk::xattr::is_carried(name.as_bytes()));
        Ok(Self {
            path: stat.path.to_vec(),
            kind,
            mode,
            uid: stat.uid,
            gid: stat.gid,
            size,
            mtime: stat.mod_time,
            xattrs: carried
                .map(|(name, value)| (name.clone(), value.to_vec()))
                .collect(),
        })
    }
}

pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

fn check_path(path: &[u8]) -> Result<(), TransferError> {
    let reason = match () {
        () if path.is_empty() => "it is empty",
        () if path.len() > MAX_PATH => "it is too long",
        () if path.contains(&0) => "it has a zero byte",
        () if path.starts_with(b"/") => "it is absolute",
        () if path.split(|&byte| byte == b'/').any(|part| part == b"..") => {
            "it leads out of the directory"
        }
        () if path
            .split(|&byte| byte == b'/')
            .any(|part| part.is_empty() || part == b".") =>
        {
            "it is not clean"
        }
        () => return Ok(()),
    };
    Err(TransferError::path(path, reason))
}

fn device(stat: &Stat) -> Result<u64, TransferError> {
    match (u32::try_from(stat.devmajor), u32::try_from(stat.devminor)) {
        (Ok(major), Ok(minor)) => Ok(rustix::fs::makedev(major, minor)),
        _ => Err(TransferError::path(
            &stat.path,
            "its device number is out of bounds",
        )),
    }
}
