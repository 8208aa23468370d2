//! Owner, mode, extended attributes and times.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{
    AtFlags, Mode, Stat, Timespec, Timestamps, XattrFlags, chownat, fchmod, fchown, fsetxattr,
    fstat, futimens, utimensat,
};

use crate::owner;
use crate::walk::xattr;

/// Attributes that a file or directory is to have.
#[derive(Debug, Clone)]
pub struct Attributes {
    /// User and group.
    pub owner: (u32, u32),
    /// Permission bits, with set-id and sticky.
    pub mode: u32,
    /// When it was changed.
    pub time: Timespec,
    /// Extended attributes.
    pub xattrs: Vec<(CString, Vec<u8>)>,
}

impl Attributes {
    /// Sets what is not yet as it should be. Extended attributes that the file system refuses are left out, as the
    /// field does.
    ///
    /// # Errors
    /// Something else is refused.
    pub fn apply(&self, fd: BorrowedFd<'_>, now: &Stat) -> io::Result<()> {
        let same_owner = (now.st_uid, now.st_gid) == self.owner;
        if !same_owner {
            let (uid, gid) = (owner::uid(self.owner.0), owner::gid(self.owner.1));
            fchown(fd, uid, gid)?;
        }
        if now.st_mode & 0o7777 != self.mode || !same_owner {
            fchmod(fd, Mode::from_raw_mode(self.mode))?;
        }
        for (name, value) in &self.xattrs {
            fsetxattr(fd, name, value, XattrFlags::empty()).ok();
        }
        futimens(fd, &self.times())?;
        Ok(())
    }

    /// The same for an open directory.
    ///
    /// # Errors
    /// Something is refused.
    pub fn apply_to_directory(&self, fd: impl AsFd) -> io::Result<()> {
        let stat = fstat(&fd)?;
        self.apply(fd.as_fd(), &stat)
    }

    /// Owner and time of something that is not opened, such as a link.
    ///
    /// # Errors
    /// One is refused.
    pub fn apply_unopened(&self, directory: impl AsFd, name: &CString) -> io::Result<()> {
        let (uid, gid) = (owner::uid(self.owner.0), owner::gid(self.owner.1));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        chownat(&directory, name, uid, gid, flags)?;
        utimensat(directory, name, &self.times(), flags)?;
        Ok(())
    }

    /// Whether a file has all of it already.
    pub fn matches(&self, fd: BorrowedFd<'_>, now: &Stat) -> bool {
        let has_all = |found: &xattr::Attributes| {
            let mut wanted = self.xattrs.iter();
            wanted.all(|attribute| found.contains(attribute))
        };
        self.is_time_of(now)
            && (now.st_uid, now.st_gid) == self.owner
            && now.st_mode & 0o7777 == self.mode
            && (self.xattrs.is_empty() || xattr::read(fd).is_ok_and(|found| has_all(&found)))
    }

    /// Whether something was changed at this very time.
    pub fn is_time_of(&self, now: &Stat) -> bool {
        (now.st_mtime, now.st_mtime_nsec as i64) == (self.time.tv_sec, self.time.tv_nsec)
    }

    fn times(&self) -> Timestamps {
        Timestamps {
            last_access: self.time,
            last_modification: self.time,
        }
    }
}
