//! What a walk of a directory finds.

use std::cmp::Ordering;

use rustix::fs::{Statx, StatxTimestamp};

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    Symlink,
    Fifo,
    CharDevice,
    BlockDevice,
    /// Becomes an empty file, as in every client of the field.
    Socket,
}

impl Kind {
    /// From the type bits of a mode.
    pub(super) fn from_mode(mode: u32) -> Self {
        match mode & 0o170_000 {
            0o040_000 => Self::Directory,
            0o120_000 => Self::Symlink,
            0o010_000 => Self::Fifo,
            0o020_000 => Self::CharDevice,
            0o060_000 => Self::BlockDevice,
            0o140_000 => Self::Socket,
            _ => Self::File,
        }
    }
}

/// A time of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Time {
    pub(super) seconds: i64,
    pub(super) nanos: u32,
}

impl From<StatxTimestamp> for Time {
    fn from(time: StatxTimestamp) -> Self {
        Self {
            seconds: time.tv_sec,
            nanos: time.tv_nsec,
        }
    }
}

/// Everything the kernel tells about an inode that changes when it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) kind: Kind,
    /// Permission bits, with set-id and sticky.
    pub(super) mode: u32,
    pub(super) size: u64,
    pub(super) mtime: Time,
    pub(super) ctime: Time,
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) links: u32,
    pub(super) rdev: u64,
}

impl Stamp {
    pub(super) fn of(stat: &Statx) -> Self {
        let mode = u32::from(stat.stx_mode);
        Self {
            kind: Kind::from_mode(mode),
            mode: mode & 0o7777,
            size: stat.stx_size,
            mtime: stat.stx_mtime.into(),
            ctime: stat.stx_ctime.into(),
            device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            links: stat.stx_nlink,
            rdev: rustix::fs::makedev(stat.stx_rdev_major, stat.stx_rdev_minor),
        }
    }

    /// Whether both could be of the same content and metadata, apart from what only
    /// reading them shows.
    pub(super) fn resembles(&self, other: &Self) -> bool {
        let sized = matches!(self.kind, Kind::File | Kind::Symlink);
        self.kind == other.kind
            && self.mode == other.mode
            && self.mtime == other.mtime
            && self.rdev == other.rdev
            && (!sized || self.size == other.size)
    }

    /// Whether the inode has several names. Directories always do.
    pub(super) fn is_linked(&self) -> bool {
        self.links > 1 && self.kind != Kind::Directory
    }
}

/// One thing in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Relative to the directory.
    pub(super) path: Vec<u8>,
    pub(super) stamp: Stamp,
}

impl Entry {
    /// The directory it is in, empty at the top, and its own name.
    pub(super) fn split(&self) -> (&[u8], &[u8]) {
        match self.path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&self.path[..slash], &self.path[slash + 1..]),
            None => (&[], &self.path),
        }
    }
}

/// The order of a walk: a directory, all that is in it, then what follows it.
pub(super) fn walk_order(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |byte: u8| if byte == b'/' { 0 } else { u16::from(byte) + 1 };
    let differs = a.iter().zip(b).position(|(x, y)| x != y);
    match differs {
        Some(at) => rank(a[at]).cmp(&rank(b[at])),
        None => a.len().cmp(&b.len()),
    }
}
