//! One file on its way into the destination.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use kiln_store::place::{open_directory, remove, temporary_name};
use rustix::fs::{AtFlags, Mode, OFlags, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::Destination;
use crate::transfer::entry::TreeEntry;
use crate::transfer::error::TransferError;
use crate::transfer::receive::IncomingFile;

/// A file that was asked for.
pub(super) struct DeliveredFile {
    destination: Arc<Destination>,
    entry: Arc<TreeEntry>,
    begun: Option<Begun>,
}

/// The directory that a thread has written to last.
#[derive(Default)]
pub(super) struct LastParent(Option<(Vec<u8>, Arc<OwnedFd>)>);

/// A file that exists, under its name or another one. If it is not completed, it goes.
struct Begun {
    parent: Arc<OwnedFd>,
    file: File,
    /// Where it is now; empty once it is where it should be.
    at: CString,
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.at.is_empty() {
            unlinkat(&self.parent, &self.at, AtFlags::empty()).ok();
        }
    }
}

impl DeliveredFile {
    pub(super) fn new(destination: Arc<Destination>, entry: Arc<TreeEntry>) -> Self {
        Self {
            destination,
            entry,
            begun: None,
        }
    }

    fn begun(&mut self, last: &mut LastParent) -> Result<&mut Begun, TransferError> {
        if self.begun.is_none() {
            let begun = self.begin(last);
            let begun = begun
                .map_err(|error| self.destination.failed("create", &self.entry.path, error))?;
            self.begun = Some(begun);
        }
        self.begun
            .as_mut()
            .ok_or_else(|| TransferError::Internal("a file was not begun".to_owned()))
    }

    fn begin(&self, last: &mut LastParent) -> io::Result<Begun> {
        let (directory, name) = self.entry.split();
        let parent = match &last.0 {
            Some((known, parent)) if known == directory => Arc::clone(parent),
            _ => {
                let parent = Arc::new(open_directory(&self.destination.root, directory)?);
                last.0 = Some((directory.to_vec(), Arc::clone(&parent)));
                parent
            }
        };
        let mut at = CString::new(name)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = match openat(&parent, &at, flags, mode) {
            Err(Errno::EXIST) => {
                at = CString::new(temporary_name())?;
                openat(&parent, &at, flags, mode)?
            }
            other => other?,
        };
        Ok(Begun {
            parent,
            file: file.into(),
            at,
        })
    }
}

impl IncomingFile for DeliveredFile {
    type Error = TransferError;
    type Hand = LastParent;

    fn write(&mut self, last: &mut LastParent, data: &[u8]) -> Result<(), TransferError> {
        let written = self.begun(last)?.file.write_all(data);
        written.map_err(|error| self.destination.failed("write", &self.entry.path, error))
    }

    fn complete(mut self, last: &mut LastParent) -> Result<(), TransferError> {
        self.begun(last)?;
        let Some(mut begun) = self.begun.take() else {
            return Ok(());
        };
        let attributes = self.destination.attributes(&self.entry);
        let (_, name) = self.entry.split();
        let complete = || {
            let stat = fstat(&begun.file)?;
            attributes.apply(begun.file.as_fd(), &stat)?;
            let name = CString::new(name)?;
            if begun.at != name {
                move_into_place(&begun, &name)?;
            }
            io::Result::Ok(())
        };
        complete().map_err(|error| self.destination.failed("complete", &self.entry.path, error))?;
        begun.at = CString::default();
        Ok(())
    }
}

fn move_into_place(begun: &Begun, name: &CString) -> Result<(), Errno> {
    let parent = &begun.parent;
    match renameat(parent, &begun.at, parent, name) {
        Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
            remove(parent.as_fd(), name)?;
            renameat(parent, &begun.at, parent, name)
        }
        other => other,
    }
}
