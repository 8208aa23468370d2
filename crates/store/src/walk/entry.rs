//! What a walk finds.

use std::cmp::Ordering;

use rustix::fs::{Statx, StatxTimestamp};

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A socket.
    Socket,
}

impl Kind {
    /// From the type bits of a mode.
    pub fn from_mode(mode: u32) -> Self {
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
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// And nanoseconds.
    pub nanos: u32,
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
pub struct Stamp {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with set-id and sticky.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// When the content was changed.
    pub mtime: Time,
    /// When anything was changed.
    pub ctime: Time,
    /// The file system's device number.
    pub device: u64,
    /// The inode number there.
    pub inode: u64,
    /// Names it has.
    pub links: u32,
    /// Device number, for devices.
    pub rdev: u64,
}

impl Stamp {
    /// From what the kernel says.
    pub fn of(stat: &Statx) -> Self {
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
    pub fn resembles(&self, other: &Self) -> bool {
        let sized = matches!(self.kind, Kind::File | Kind::Symlink);
        self.kind == other.kind
            && self.mode == other.mode
            && self.mtime == other.mtime
            && self.rdev == other.rdev
            && (!sized || self.size == other.size)
    }

    /// Whether the inode has several names. Directories always do.
    pub fn is_linked(&self) -> bool {
        self.links > 1 && self.kind != Kind::Directory
    }
}

/// One thing in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the directory.
    pub path: Vec<u8>,
    /// What its inode is like.
    pub stamp: Stamp,
}

impl Entry {
    /// The directory it is in, empty at the top, and its own name.
    pub fn split(&self) -> (&[u8], &[u8]) {
        match self.path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&self.path[..slash], &self.path[slash + 1..]),
            None => (&[], &self.path),
        }
    }
}

/// The order of a walk: a directory, all that is in it, then what follows it.
pub fn walk_order(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |byte: u8| if byte == b'/' { 0 } else { u16::from(byte) + 1 };
    let differs = a.iter().zip(b).position(|(x, y)| x != y);
    match differs {
        Some(at) => rank(a[at]).cmp(&rank(b[at])),
        None => a.len().cmp(&b.len()),
    }
}
