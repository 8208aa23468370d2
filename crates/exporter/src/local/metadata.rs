//! Owner, mode, extended attributes and times that files of the destination get.

use std::io;
use std::os::fd::BorrowedFd;

pub(super) use kiln_store::place::Attributes as Metadata;
use rustix::fs::{Stat, Timespec, fstat};

use crate::xattrs;

/// Those of a source, but owned by the caller and as old as the epoch says.
pub(super) fn of(
    source: BorrowedFd<'_>,
    owner: (u32, u32),
    epoch: Option<i64>,
) -> io::Result<Metadata> {
    let stat = fstat(source)?;
    Ok(Metadata {
        xattrs: xattrs::read(source)?,
        ..from_stat(&stat, owner, epoch)
    })
}

/// The same of something that cannot be opened, without extended attributes.
pub(super) fn from_stat(stat: &Stat, owner: (u32, u32), epoch: Option<i64>) -> Metadata {
    Metadata {
        owner,
        mode: stat.st_mode & 0o7777,
        time: time_of(stat, epoch),
        xattrs: Vec::new(),
    }
}

/// Those of a folder that no tree has.
pub(super) fn folder(owner: (u32, u32), epoch: Option<i64>) -> Metadata {
    let time = Timespec {
        tv_sec: epoch.unwrap_or(0),
        tv_nsec: epoch.map_or(rustix::fs::UTIME_NOW, |_| 0),
    };
    Metadata {
        owner,
        mode: 0o755,
        time,
        xattrs: Vec::new(),
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
