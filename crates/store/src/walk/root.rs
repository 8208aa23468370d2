//! A directory to be walked, held open. Nothing outside of it can be reached through it.

use std::fs::File;
use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// A directory whose paths are resolved without following any link.
#[derive(Debug)]
pub struct WalkRoot(OwnedFd);

impl WalkRoot {
    /// Opens a directory, following links on the way to it.
    ///
    /// # Errors
    /// It does not exist, is no directory, or may not be opened.
    pub fn open(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path, flags, Mode::empty()).map(Self)
    }

    /// The directory itself.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// A directory below, or the root for an empty path.
    ///
    /// # Errors
    /// It does not exist, is no directory, or a link is on the way.
    pub fn directory(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let path: &[u8] = if path.is_empty() { b"." } else { path };
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat2(&self.0, path, flags, Mode::empty(), resolve)
    }

    /// A file below for reading, without waiting if it is a pipe.
    ///
    /// # Errors
    /// It does not exist, may not be opened, or a link is on the way.
    pub fn file(&self, path: &[u8]) -> Result<File, Errno> {
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::openat2(&self.0, path, flags, Mode::empty(), resolve).map(File::from)
    }
}

impl From<OwnedFd> for WalkRoot {
    fn from(directory: OwnedFd) -> Self {
        Self(directory)
    }
}
