//! Files with several names: the first name met holds the data, the others are linked to it at the end.
//!
//! Places are kept as paths, not as open directories, because there may be as many as there are files.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln_store::place::{Failure, open_parent, replace};
use rustix::fs::{AtFlags, Mode, Timespec, Timestamps, fchmod, fstat, futimens, linkat, statat};
use rustix::io::Errno;

use super::Job;
use super::directory::DirNode;
use super::entry::writing;
use crate::ExportError;

/// The names met so far.
#[derive(Default)]
pub(super) struct Links(Mutex<LinkState>);

#[derive(Default)]
struct LinkState {
    first: HashMap<(u64, u64), PathBuf>,
    others: Vec<(PathBuf, PathBuf)>,
}

impl Links {
    fn state(&self) -> MutexGuard<'_, LinkState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the data is to be copied to this place; if not, the place will be linked.
    pub(super) fn claim(&self, inode: (u64, u64), place: PathBuf) -> bool {
        let mut state = self.state();
        match state.first.get(&inode).cloned() {
            None => {
                state.first.insert(inode, place);
                true
            }
            Some(first) => {
                state.others.push((first, place));
                false
            }
        }
    }
}

impl Job {
    /// Gives files their second names. Called when all data is there and all directories are complete.
    pub(super) fn make_links(&self, root: &DirNode) -> Result<(), ExportError> {
        let state = std::mem::take(&mut *self.links.state());
        for (first, place) in state.others {
            self.cancelled.check().map_err(|_| ExportError::Canceled)?;
            make_link(&root.fd, &first, &place).map_err(|(action, error)| {
                self.file_error(action, root, Some(place.as_os_str().as_bytes()), error)
            })?;
        }
        Ok(())
    }
}

fn make_link(root: &OwnedFd, first: &Path, place: &Path) -> Result<(), Failure> {
    let open = |place: &Path| {
        open_parent(root, place.as_os_str().as_bytes()).map_err(|error| ("link", error))
    };
    let (from, from_name) = open(first)?;
    let (to, name) = open(place)?;
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    let data = statat(&from, &from_name, nofollow).map_err(writing)?;
    if statat(&to, &name, nofollow)
        .is_ok_and(|there| (there.st_dev, there.st_ino) == (data.st_dev, data.st_ino))
    {
        return Ok(());
    }
    // The directory was complete: what the link changes of it is put back.
    let before = fstat(&to).map_err(writing)?;
    let mode = Mode::from_raw_mode(before.st_mode);
    let locked = !mode.contains(Mode::RWXU) && before.st_uid != 0;
    if locked {
        fchmod(&to, mode | Mode::RWXU).map_err(writing)?;
    }
    let link = |at: &CString| linkat(&from, &from_name, &to, at, AtFlags::empty());
    let outcome = match link(&name) {
        Err(Errno::EXIST) => replace(to.as_fd(), &name, |at| link(at).map_err(writing)),
        other => other.map_err(writing),
    };
    if locked {
        fchmod(&to, mode).map_err(writing)?;
    }
    let time = Timespec {
        tv_sec: before.st_mtime,
        tv_nsec: before.st_mtime_nsec as _,
    };
    futimens(
        &to,
        &Timestamps {
            last_access: time,
            last_modification: time,
        },
    )
    .map_err(writing)?;
    outcome
}
