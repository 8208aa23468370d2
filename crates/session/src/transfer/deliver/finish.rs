//! What is done once all files are there.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use kiln_store::place::{names, open_directory, open_parent, remove, replace};
use kiln_store::walk::walk_order;
use rustix::fs::{AtFlags, linkat, statat};
use rustix::io::Errno;

use super::Delivery;
use super::entry::writing;
use crate::transfer::entry::{EntryKind, TreeEntry};
use crate::transfer::error::TransferError;

impl Delivery {
    /// Gives files their further names.
    pub(super) fn make_links(&self, entries: &[Arc<TreeEntry>]) -> Result<(), TransferError> {
        for entry in entries {
            let EntryKind::Link(target) = &entry.kind else {
                continue;
            };
            let failed =
                |error: std::io::Error| self.destination.failed("link", &entry.path, error);
            let (from, from_name) = open_parent(&self.destination.root, target).map_err(failed)?;
            let (to, name) = open_parent(&self.destination.root, &entry.path).map_err(failed)?;
            link((&from, &from_name), (&to, &name)).map_err(failed)?;
        }
        Ok(())
    }

    /// Removes what was not sent.
    pub(super) fn remove_others(&self, entries: &[Arc<TreeEntry>]) -> Result<(), TransferError> {
        self.remove_others_in(b"", entries)?;
        for entry in entries {
            if entry.kind == EntryKind::Directory {
                self.remove_others_in(&entry.path, entries)?;
            }
        }
        Ok(())
    }

    fn remove_others_in(
        &self,
        directory: &[u8],
        entries: &[Arc<TreeEntry>],
    ) -> Result<(), TransferError> {
        let failed = |error: Errno| self.destination.failed("remove files in", directory, error);
        let opened = open_directory(&self.destination.root, directory).map_err(failed)?;
        for name in names(opened.as_fd()).map_err(failed)? {
            let path = match directory {
                b"" => name.to_bytes().to_vec(),
                _ => [directory, b"/", name.to_bytes()].concat(),
            };
            let was_sent = entries
                .binary_search_by(|entry| walk_order(&entry.path, &path))
                .is_ok();
            if !was_sent {
                remove(opened.as_fd(), &name)
                    .map_err(|error| self.destination.failed("remove", &path, error))?;
            }
        }
        Ok(())
    }

    /// Attributes of directories, the deepest first: whoever is in one changes its times, and may
    /// need to write to it.
    pub(super) fn finish_directories(
        &self,
        entries: &[Arc<TreeEntry>],
    ) -> Result<(), TransferError> {
        let directories = entries.iter().rev();
        for entry in directories.filter(|entry| entry.kind == EntryKind::Directory) {
            let failed = |error: std::io::Error| {
                self.destination
                    .failed("set the attributes of", &entry.path, error)
            };
            let opened = open_directory(&self.destination.root, &entry.path);
            let opened = opened.map_err(|error| failed(error.into()))?;
            let attributes = self.destination.attributes(entry);
            attributes.apply_to_directory(&opened).map_err(failed)?;
        }
        Ok(())
    }
}

/// Makes a name of a file that another name has, in the place of whatever has it.
fn link(
    (from, from_name): (&OwnedFd, &CStr),
    (to, name): (&OwnedFd, &CStr),
) -> Result<(), std::io::Error> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let data = statat(from, from_name, flags)?;
    if statat(to, name, flags)
        .is_ok_and(|there| (there.st_dev, there.st_ino) == (data.st_dev, data.st_ino))
    {
        return Ok(());
    }
    let link = |at: &CStr| linkat(from, from_name, to, at, AtFlags::empty());
    match link(name) {
        Err(Errno::EXIST) => replace(to.as_fd(), name, |at: &CString| link(at).map_err(writing))
            .map_err(|(_, error)| error),
        other => Ok(other?),
    }
}
