//! What is known about a file without opening it.

use rustix::fs::{FileType, Stat};

use crate::tar::Timestamp;

/// Numeric owner and group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What a last component that is a symlink means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// The link itself.
    No,
    /// What it points to.
    Yes,
}

/// The type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// What is known about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Type.
    pub kind: FileKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner and group.
    pub owner: Owner,
    /// Bytes.
    pub size: u64,
    /// Blocks of 512 bytes that are really stored.
    pub blocks: u64,
    /// Access time.
    pub atime: Timestamp,
    /// Modification time.
    pub mtime: Timestamp,
    /// Device number, for devices.
    pub rdev: u64,
    /// Inode number.
    pub inode: u64,
    /// Device that the inode number belongs to.
    pub dev: u64,
    /// Names of this inode.
    pub links: u64,
}

impl Metadata {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == FileKind::Directory
    }

    /// What tells this inode from all others.
    pub fn identity(&self) -> (u64, u64) {
        (self.dev, self.inode)
    }

    /// Whether the inode has further names.
    pub fn is_hard_linked(&self) -> bool {
        !self.is_dir() && self.links > 1
    }

    /// Whether overlayfs means "deleted" by it.
    pub fn is_whiteout(&self) -> bool {
        self.kind == FileKind::CharDevice && self.rdev == 0
    }

    pub(super) fn of(stat: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => FileKind::Directory,
            FileType::Symlink => FileKind::Symlink,
            FileType::CharacterDevice => FileKind::CharDevice,
            FileType::BlockDevice => FileKind::BlockDevice,
            FileType::Fifo => FileKind::Fifo,
            FileType::Socket => FileKind::Socket,
            FileType::RegularFile | FileType::Unknown => FileKind::File,
        };
        let time = |seconds, nanos: u64| Timestamp {
            seconds,
            nanos: nanos as u32,
        };
        Self {
            kind,
            mode: stat.st_mode & 0o7777,
            owner: Owner {
                uid: stat.st_uid,
                gid: stat.st_gid,
            },
            size: stat.st_size as u64,
            blocks: stat.st_blocks as u64,
            atime: time(stat.st_atime, stat.st_atime_nsec),
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            rdev: stat.st_rdev,
            inode: stat.st_ino,
            dev: stat.st_dev,
            links: stat.st_nlink,
        }
    }
}
