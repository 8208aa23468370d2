//! Byte-range locks on one file, shared by all processes on a root: one byte per ref for "in use", one for "at work".
//!
//! The locks belong to the open file (OFD locks): each [`LockFile`] is an owner of its own, also within one
//! process, and the kernel frees them when the process dies. Nothing is ever written to the file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::disk::{AtPath, DiskError};

/// A row of the `refs` table: the number that locks and directories are named by. Never reused.
pub(crate) type Row = i64;

/// What holding a lock means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Shared: somebody uses the ref. Exclusive: it is being removed.
    Use,
    /// Exclusive: somebody makes its files, or has the cache directory to themselves. Shared: users of a shared
    /// cache directory.
    Work,
}

/// Who else may hold the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Other sharers.
    Shared,
    /// Nobody.
    Exclusive,
}

/// One owner of locks.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: File,
    path: PathBuf,
}

/// Whether to wait for a lock.
#[derive(Clone, Copy)]
enum Patience {
    Wait,
    Refuse,
}

impl LockFile {
    /// Opens (or makes) the file as a new owner.
    pub(crate) fn open(path: &Path) -> Result<LockFile, DiskError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .at("open lock file", path)?;
        Ok(LockFile {
            file,
            path: path.to_owned(),
        })
    }

    /// Takes the lock, waiting for other owners.
    pub(crate) fn lock(&self, purpose: Purpose, row: Row, mode: Mode) -> Result<(), DiskError> {
        self.set(purpose, row, kind(mode), Patience::Wait)
            .at("lock", &self.path)
    }

    /// Takes the lock if that is possible at once.
    pub(crate) fn try_lock(
        &self,
        purpose: Purpose,
        row: Row,
        mode: Mode,
    ) -> Result<bool, DiskError> {
        match self.set(purpose, row, kind(mode), Patience::Refuse) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
                Ok(false)
            }
            Err(error) => Err(error).at("lock", &self.path),
        }
    }

    /// Whether any other owner has the lock in whatever mode. Takes nothing, so it disturbs nobody.
    pub(crate) fn is_held(&self, purpose: Purpose, row: Row) -> Result<bool, DiskError> {
        let mut range = range(purpose, row, libc::F_WRLCK);
        fcntl_range(&self.file, libc::F_OFD_GETLK, &mut range).at("look at lock", &self.path)?;
        Ok(libc::c_int::from(range.l_type) != libc::F_UNLCK)
    }

    /// Gives the lock up.
    pub(crate) fn unlock(&self, purpose: Purpose, row: Row) {
        // Unlocking one byte can only fail for lack of kernel memory; the lock then lives until the file closes.
        if let Err(error) = self.set(purpose, row, libc::F_UNLCK, Patience::Refuse) {
            tracing::warn!(row, %error, "cannot unlock");
        }
    }

    fn set(
        &self,
        purpose: Purpose,
        row: Row,
        kind: libc::c_int,
        patience: Patience,
    ) -> io::Result<()> {
        let command = match patience {
            Patience::Wait => libc::F_OFD_SETLKW,
            Patience::Refuse => libc::F_OFD_SETLK,
        };
        let mut range = range(purpose, row, kind);
        loop {
            match fcntl_range(&self.file, command, &mut range) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

fn kind(mode: Mode) -> libc::c_int {
    match mode {
        Mode::Shared => libc::F_RDLCK,
        Mode::Exclusive => libc::F_WRLCK,
    }
}

/// One byte, as the kernel wants it told.
fn range(purpose: Purpose, row: Row, kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: offset(purpose, row),
        l_len: 1,
        l_pid: 0,
    }
}

/// The purposes lie in halves of the file far apart.
fn offset(purpose: Purpose, row: Row) -> i64 {
    match purpose {
        Purpose::Use => row,
        Purpose::Work => row | (1 << 61),
    }
}

/// The one system call that no safe wrapper offers: rustix locks whole files only.
#[allow(unsafe_code)]
fn fcntl_range(file: &File, command: libc::c_int, range: &mut libc::flock) -> io::Result<()> {
    // SAFETY: the descriptor is open while `file` is borrowed, and the OFD commands read and write this struct only.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, std::ptr::from_mut(range)) };
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
