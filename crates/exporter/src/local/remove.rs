//! Removing what should not be in the destination.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, chmodat, openat, unlinkat};
use rustix::io::Errno;

use super::Job;
use super::directory::DirNode;
use crate::ExportError;

impl Job {
    /// Removes all entries of a directory but those to be kept.
    pub(super) fn remove_others(
        &self,
        node: &DirNode,
        keep: impl Fn(&[u8]) -> bool,
    ) -> Result<(), ExportError> {
        for name in
            names(node.fd.as_fd()).map_err(|error| self.file_error("read", node, None, error))?
        {
            if !keep(name.as_bytes()) {
                remove(node.fd.as_fd(), &name).map_err(|error| {
                    self.file_error("remove", node, Some(name.as_bytes()), error)
                })?;
            }
        }
        Ok(())
    }
}

/// Removes one entry with all that is in it. Symbolic links are removed, never followed.
pub(super) fn remove(parent: BorrowedFd<'_>, name: &CString) -> Result<(), Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            openat(parent, name, flags, Mode::empty())?
        }
        other => other?,
    };
    for entry in names(directory.as_fd())? {
        remove(directory.as_fd(), &entry)?;
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

fn names(directory: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}
