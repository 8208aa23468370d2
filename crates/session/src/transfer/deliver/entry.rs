//! What need not be waited for: files that are there already, and what has no content.

use std::ffi::CString;
use std::os::fd::AsFd as _;

use kiln_store::place::{Failure, replace};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, fstat, mknodat, openat, readlinkat, statat, symlinkat,
};
use rustix::io::Errno;

use super::Delivery;
use super::directories::Parent;
use crate::transfer::entry::{EntryKind, TreeEntry};
use crate::transfer::error::TransferError;

impl Delivery {
    /// Whether a file is there, by its size and time. Times of whole seconds prove nothing: files
    /// with other content get the same ones by archives and SOURCE_DATE_EPOCH.
    pub(super) fn is_there(
        &self,
        parent: &Parent,
        entry: &TreeEntry,
    ) -> Result<bool, TransferError> {
        let (_, nanos) = entry.mtime_parts();
        if nanos == 0 {
            return Ok(false);
        }
        let name = self.name(entry)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = openat(parent.fd(&self.destination), &name, flags, Mode::empty()) else {
            return Ok(false);
        };
        let Ok(stat) = fstat(&file) else {
            return Ok(false);
        };
        let attributes = self.destination.attributes(entry);
        let is_same = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_size as u64 == entry.size
            && stat.st_nlink == 1
            && attributes.is_time_of(&stat);
        // Another's file cannot be given the attributes: it is replaced instead.
        Ok(is_same
            && (attributes.matches(file.as_fd(), &stat)
                || attributes.apply(file.as_fd(), &stat).is_ok()))
    }

    /// Makes a symbolic link, pipe or device.
    pub(super) fn make_special(
        &self,
        parent: &Parent,
        entry: &TreeEntry,
    ) -> Result<(), TransferError> {
        let failed = |(action, error): Failure| self.destination.failed(action, &entry.path, error);
        let name = self.name(entry)?;
        let made = match &entry.kind {
            EntryKind::Symlink(target) => self.make_symlink(parent, &name, target),
            EntryKind::Pipe => self.make_node(parent, &name, entry, (FileType::Fifo, 0)),
            EntryKind::CharDevice(number) => {
                self.make_node(parent, &name, entry, (FileType::CharacterDevice, *number))
            }
            EntryKind::BlockDevice(number) => {
                self.make_node(parent, &name, entry, (FileType::BlockDevice, *number))
            }
            EntryKind::Directory | EntryKind::File | EntryKind::Link(_) => return Ok(()),
        };
        made.map_err(failed)?;
        let attributes = self.destination.attributes(entry);
        attributes
            .apply_unopened(parent.fd(&self.destination), &name)
            .map_err(|error| failed(("set the attributes of", error)))
    }

    fn make_symlink(&self, parent: &Parent, name: &CString, target: &[u8]) -> Result<(), Failure> {
        let directory = parent.fd(&self.destination);
        if readlinkat(directory, name, Vec::new()).is_ok_and(|there| there.as_bytes() == target) {
            return Ok(());
        }
        let make = |at: &CString| symlinkat(target, directory, at).map_err(writing);
        match symlinkat(target, directory, name) {
            Err(Errno::EXIST) => replace(directory.as_fd(), name, make),
            other => other.map_err(writing),
        }
    }

    fn make_node(
        &self,
        parent: &Parent,
        name: &CString,
        entry: &TreeEntry,
        (kind, number): (FileType, u64),
    ) -> Result<(), Failure> {
        let directory = parent.fd(&self.destination);
        let mode = Mode::from_raw_mode(entry.mode);
        let make = |at: &CString| {
            mknodat(directory, at, kind, mode, number)
                .map_err(|error| ("create device", error.into()))
        };
        match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => make(name)?,
            Err(error) => return Err(writing(error)),
            Ok(there) => {
                let is_same = FileType::from_raw_mode(there.st_mode) == kind
                    && (kind == FileType::Fifo || there.st_rdev == number);
                if !is_same {
                    replace(directory.as_fd(), name, make)?;
                }
            }
        }
        rustix::fs::chmodat(directory, name, mode, AtFlags::empty()).map_err(writing)
    }

    pub(super) fn name(&self, entry: &TreeEntry) -> Result<CString, TransferError> {
        let (_, name) = entry.split();
        CString::new(name).map_err(|error| self.destination.failed("create", &entry.path, error))
    }
}

pub(super) fn writing(error: Errno) -> Failure {
    ("write", error.into())
}
