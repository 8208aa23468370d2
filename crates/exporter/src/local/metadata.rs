//! Owner, mode, extended attributes and times.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{
    Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags, fchmod, fchown, fsetxattr, fstat,
    futimens,
};

use crate::xattrs;

/// Attributes that a file or directory of the destination is to have.
pub(super) struct Metadata {
    pub(super) owner: (u32, u32),
    pub(super) mode: u32,
    pub(super) time: Timespec,
    xattrs: Vec<(CString, Vec<u8>)>,
}

impl Metadata {
    /// Those of a source, but owned by the caller and as old as the epoch says.
    pub(super) fn of(
        source: BorrowedFd<'_>,
        owner: (u32, u32),
        epoch: Option<i64>,
    ) -> io::Result<Self> {
        let stat = fstat(source)?;
        Ok(Self {
            xattrs: xattrs::read(source)?,
            ..Self::from_stat(&stat, owner, epoch)
        })
    }

    /// The same of something that cannot be opened, without extended attributes.
    pub(super) fn from_stat(stat: &Stat, owner: (u32, u32), epoch: Option<i64>) -> Self {
        Self {
            owner,
            mode: stat.st_mode & 0o7777,
            time: time_of(stat, epoch),
            xattrs: Vec::new(),
        }
    }

    /// Those of a folder that no tree has.
    pub(super) fn folder(owner: (u32, u32), epoch: Option<i64>) -> Self {
        let time = Timespec {
            tv_sec: epoch.unwrap_or(0),
            tv_nsec: epoch.map_or(rustix::fs::UTIME_NOW, |_| 0),
        };
        Self {
            owner,
            mode: 0o755,
            time,
            xattrs: Vec::new(),
        }
    }

    pub(super) fn apply_to_directory(&self, fd: impl AsFd) -> io::Result<()> {
        let stat = fstat(&fd)?;
        self.apply(fd.as_fd(), &stat)
    }

    /// Sets what is not yet as it should be. Attributes the file system refuses are left out, as the field does.
    pub(super) fn apply(&self, fd: BorrowedFd<'_>, now: &Stat) -> io::Result<()> {
        if (now.st_uid, now.st_gid) != self.owner {
            fchown(
                fd,
                Some(Uid::from_raw(self.owner.0)),
                Some(Gid::from_raw(self.owner.1)),
            )?;
        }
        if now.st_mode & 0o7777 != self.mode || (now.st_uid, now.st_gid) != self.owner {
            fchmod(fd, Mode::from_raw_mode(self.mode))?;
        }
        for (name, value) in &self.xattrs {
            fsetxattr(fd, name, value, XattrFlags::empty()).ok();
        }
        futimens(
            fd,
            &Timestamps {
                last_access: self.time,
                last_modification: self.time,
            },
        )?;
        Ok(())
    }

    /// Whether a file has all of it already.
    pub(super) fn matches(&self, fd: BorrowedFd<'_>, now: &Stat) -> bool {
        let time =
            (now.st_mtime, now.st_mtime_nsec as i64) == (self.time.tv_sec, self.time.tv_nsec);
        time && (now.st_uid, now.st_gid) == self.owner
            && now.st_mode & 0o7777 == self.mode
            && self
                .xattrs
                .iter()
                .all(|(name, value)| xattrs::value(fd, name).is_ok_and(|found| found == *value))
    }
}

fn time_of(stat: &Stat, epoch: Option<i64>) -> Timespec {
    match epoch {
        Some(seconds) => Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        },
        None => Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    }
}
