//! Owner, permission bits, times and extended attributes, put on a file in the one order that keeps them all.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;

use rustix::fs::{self, Gid, Mode, RawMode, Uid, XattrFlags};

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
            xattrs: Vec::new(),
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
            ignore_refusal(key, dir.set_xattr(name, key, value));
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
                Some(Uid::from_raw(owner.uid)),
                Some(Gid::from_raw(owner.gid)),
            )?;
        }
        if let Some(mode) = self.mode {
            fs::fchmod(file, Mode::from_raw_mode(mode as RawMode))?;
        }
        for (key, value) in &self.xattrs {
            ignore_refusal(
                key,
                fs::fsetxattr(file, key, value, XattrFlags::empty()).map_err(Into::into),
            );
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

/// Not every file system takes every attribute, and losing one does not fail a build.
fn ignore_refusal(key: &CStr, result: io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(?key, %error, "extended attribute left out of a copy");
    }
}
