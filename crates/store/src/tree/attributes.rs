//! Owner, permission bits, times and extended attributes, put on a file in the one order that keeps them all.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;

use rustix::fs::{self, Mode, RawMode, XattrFlags};
use rustix::io::Errno;

use super::copy::CopyRequest;
use super::dir::{Dir, timestamps};
use super::metadata::{FileKind, Metadata, Owner};
use crate::tar::Timestamp;

/// Attributes that a file shall get.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    pub(super) owner: Option<Owner>,
    pub(super) mode: Option<u32>,
    /// Access and modification time.
    pub(super) times: Option<(Timestamp, Timestamp)>,
    pub(super) xattrs: Vec<(CString, Vec<u8>)>,
    pub(super) refused_xattrs: RefusedXattrs,
}

/// What happens when an extended attribute cannot be set. Not every file system takes every one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RefusedXattrs {
    /// It is left out: losing one does not fail a copy.
    #[default]
    LeftOut,
    /// It is left out if the file system has no place for such attributes; any other refusal counts, since a program
    /// without its capabilities would be found out late.
    Reported,
}

impl Attributes {
    /// What a copy of `source` gets, but for its extended attributes.
    pub(super) fn of_copy(request: &CopyRequest, source: &Metadata) -> Self {
        let mode = match &request.mode {
            Some(change) => change.apply(source.mode, source.is_dir()),
            None => source.mode,
        };
        Self {
            owner: Some(request.owner.unwrap_or(source.owner)),
            mode: (source.kind != FileKind::Symlink).then_some(mode),
            times: Some(copied_times(request, source)),
            ..Self::default()
        }
    }

    /// Puts them on a directory entry.
    pub(super) fn set(&self, dir: &Dir, name: &CStr) -> io::Result<()> {
        // A change of the owner takes setuid bits and capabilities away, so it comes first.
        if let Some(owner) = self.owner {
            dir.set_owner(name, owner)?;
        }
        if let Some(mode) = self.mode {
            dir.set_mode(name, mode)?;
        }
        for (key, value) in &self.xattrs {
            self.refused_xattrs
                .judge(key, dir.set_xattr(name, key, value))?;
        }
        if let Some((atime, mtime)) = self.times {
            dir.set_times(name, atime, mtime)?;
        }
        Ok(())
    }

    /// Puts them on an open file.
    pub(super) fn set_on_file(&self, file: &File) -> io::Result<()> {
        if let Some(owner) = self.owner {
            fs::fchown(
                file,
                crate::owner::uid(owner.uid),
                crate::owner::gid(owner.gid),
            )?;
        }
        if let Some(mode) = self.mode {
            fs::fchmod(file, Mode::from_raw_mode(mode as RawMode))?;
        }
        for (key, value) in &self.xattrs {
            let set = fs::fsetxattr(file, key, value, XattrFlags::empty());
            self.refused_xattrs.judge(key, set.map_err(Into::into))?;
        }
        if let Some((atime, mtime)) = self.times {
            fs::futimens(file, &timestamps(atime, mtime))?;
        }
        Ok(())
    }
}

/// The times that a copy of `source` gets.
pub(super) fn copied_times(request: &CopyRequest, source: &Metadata) -> (Timestamp, Timestamp) {
    request
        .timestamp
        .map_or((source.atime, source.mtime), |time| (time, time))
}

impl RefusedXattrs {
    fn judge(self, key: &CStr, result: io::Result<()>) -> io::Result<()> {
        let Err(error) = result else { return Ok(()) };
        let harmless = match Errno::from_io_error(&error) {
            Some(Errno::NOTSUP) => true,
            // Links and devices take no attributes of users.
            Some(Errno::PERM) => !key.to_bytes().starts_with(b"security."),
            _ => false,
        };
        if self == Self::Reported && !harmless {
            return Err(error);
        }
        tracing::debug!(?key, %error, "extended attribute left out");
        Ok(())
    }
}
