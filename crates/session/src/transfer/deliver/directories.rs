//! The directories of the destination that are open while the list comes.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use kiln_store::place::remove;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, mkdirat, openat, statat};
use rustix::io::Errno;
use std::os::fd::AsFd as _;

use super::Destination;
use crate::transfer::entry::TreeEntry;
use crate::transfer::error::TransferError;

/// The directory that the last entry is in, and those above it.
pub(super) struct OpenDirectories {
    destination: Arc<Destination>,
    open: Vec<(Arc<TreeEntry>, Arc<OwnedFd>)>,
}

/// A directory, the destination itself if there is no handle.
pub(super) struct Parent(Option<Arc<OwnedFd>>);

impl Parent {
    pub(super) fn fd<'a>(&'a self, destination: &'a Destination) -> &'a OwnedFd {
        self.0.as_deref().unwrap_or(&destination.root)
    }
}

impl OpenDirectories {
    pub(super) fn new(destination: Arc<Destination>) -> Self {
        Self {
            destination,
            open: Vec::new(),
        }
    }

    /// The directory that an entry is in. The order of the list makes it the last one that was
    /// entered, or one above it.
    pub(super) fn parent_of(&mut self, entry: &TreeEntry) -> Result<Parent, TransferError> {
        let (directory, _) = entry.split();
        while self.open.last().is_some_and(|(open, _)| {
            directory
                .strip_prefix(open.path.as_slice())
                .is_none_or(|rest| !(rest.is_empty() || rest[0] == b'/'))
        }) {
            self.open.pop();
        }
        Ok(Parent(self.open.last().map(|(_, fd)| Arc::clone(fd))))
    }

    /// Makes a directory, in the place of whatever else has its name, and enters it.
    pub(super) fn enter(
        &mut self,
        parent: &Parent,
        entry: &Arc<TreeEntry>,
    ) -> Result<(), TransferError> {
        let failed = |error: std::io::Error| {
            self.destination
                .failed("create directory", &entry.path, error)
        };
        let (_, name) = entry.split();
        let name = CString::new(name).map_err(|error| failed(error.into()))?;
        let opened = self
            .make(parent, &name)
            .map_err(|error| failed(error.into()))?;
        self.open.push((Arc::clone(entry), Arc::new(opened)));
        Ok(())
    }

    fn make(&self, parent: &Parent, name: &CString) -> Result<OwnedFd, Errno> {
        let parent = parent.fd(&self.destination);
        match mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    remove(parent.as_fd(), name)?;
                    mkdirat(parent, name, Mode::RWXU)?;
                }
            }
            Err(error) => return Err(error),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match openat(parent, name, flags, Mode::empty()) {
            // A directory of an earlier export that its owner may not read.
            Err(Errno::ACCESS) => {
                rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
                openat(parent, name, flags, Mode::empty())?
            }
            other => other?,
        };
        self.make_writable(&opened)?;
        Ok(opened)
    }

    /// A directory that an earlier export left read-only is opened for this one.
    fn make_writable(&self, directory: &OwnedFd) -> Result<(), Errno> {
        if self.destination.owner.0 == 0 {
            return Ok(());
        }
        let stat = rustix::fs::fstat(directory)?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        match !mode.contains(Mode::RWXU) && stat.st_uid == self.destination.owner.0 {
            true => rustix::fs::fchmod(directory, mode | Mode::RWXU),
            false => Ok(()),
        }
    }
}
