//! Making directories, files and symlinks.

use std::ffi::CString;
use std::io::{self, Write};

use bytes::Bytes;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::Attributes;
use super::dir::{Dir, Name};
use super::error::TreeError;
use super::metadata::{Follow, Owner};
use super::root::Root;
use crate::path;
use crate::tar::Timestamp;

/// Makes a directory. An existing one is left as it is.
#[derive(Clone, Debug)]
pub struct Mkdir {
    /// Where.
    pub path: String,
    /// Permission bits (0o777).
    pub mode: u32,
    /// Also make missing parents, with the same attributes.
    pub make_parents: bool,
    /// Owner of what is made; root otherwise.
    pub owner: Option<Owner>,
    /// Times of what is made; now otherwise.
    pub timestamp: Option<Timestamp>,
}

/// Makes a file, or replaces the content of one.
#[derive(Clone, Debug)]
pub struct Mkfile {
    /// Where.
    pub path: String,
    /// Permission bits (0o777) of a file that is new.
    pub mode: u32,
    /// Content.
    pub data: Bytes,
    /// Owner; root otherwise.
    pub owner: Option<Owner>,
    /// Times; now otherwise.
    pub timestamp: Option<Timestamp>,
}

/// Makes a symbolic link.
#[derive(Clone, Debug)]
pub struct Symlink {
    /// What it says.
    pub target: String,
    /// Where.
    pub path: String,
    /// Owner; root otherwise.
    pub owner: Option<Owner>,
    /// Times; now otherwise.
    pub timestamp: Option<Timestamp>,
}

impl Root {
    /// Makes a directory.
    ///
    /// # Errors
    /// A parent is missing and was not asked for, or something else stands in its place.
    pub fn mkdir(&self, request: &Mkdir) -> Result<(), TreeError> {
        let resolved = self.resolve(request.path.as_bytes(), Follow::Yes)?;
        let attributes = made(request.mode, request.owner, request.timestamp);
        if request.make_parents {
            return self.make_dirs(&resolved, &attributes).map(drop);
        }
        let fail = |error: io::Error| TreeError::os("mkdir", &resolved, error);
        let Some((parent, name)) = self.open_parent(&resolved).map_err(fail)? else {
            return Ok(());
        };
        match parent.make_dir(&name) {
            Ok(()) => attributes.set(&parent, &name).map_err(fail),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(fail(error)),
        }
    }

    /// Makes a file.
    ///
    /// # Errors
    /// Its parent is missing, or it cannot be written.
    pub fn mkfile(&self, request: &Mkfile) -> Result<(), TreeError> {
        let (resolved, parent, name) = self.destination("open", &request.path)?;
        let fail = |error: io::Error| TreeError::os("open", &resolved, error);
        let mode = Mode::from_raw_mode(request.mode & 0o777);
        let existed = parent.find(&name).map_err(fail)?.is_some();
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file: std::fs::File = fs::openat(&parent, &name, flags, mode)
            .map_err(|error| fail(error.into()))?
            .into();
        file.write_all(&request.data)
            .map_err(|error| TreeError::os("write", &resolved, error))?;
        let attributes = Attributes {
            mode: (!existed).then_some(request.mode & 0o777),
            ..made(request.mode, request.owner, request.timestamp)
        };
        attributes.set_on_file(&file).map_err(fail)
    }

    /// Makes a symlink.
    ///
    /// # Errors
    /// Its parent is missing, or something is already there.
    pub fn symlink(&self, request: &Symlink) -> Result<(), TreeError> {
        let (resolved, parent, name) = self.destination("symlink", &request.path)?;
        let fail = |error: io::Error| {
            TreeError::os(
                "symlink",
                [request.target.as_bytes(), b" ", &resolved].concat(),
                error,
            )
        };
        let target = CString::new(request.target.as_bytes()).map_err(|error| fail(error.into()))?;
        parent.make_symlink(&target, &name).map_err(fail)?;
        let attributes = Attributes {
            mode: None,
            ..made(0, request.owner, request.timestamp)
        };
        attributes.set(&parent, &name).map_err(fail)
    }

    /// Makes a resolved directory and its missing parents; gives those it made, outermost first.
    pub(super) fn make_dirs(
        &self,
        resolved: &[u8],
        attributes: &Attributes,
    ) -> Result<Vec<Vec<u8>>, TreeError> {
        let mut made = Vec::new();
        if self
            .find(resolved)
            .is_ok_and(|found| found.is_some_and(|metadata| metadata.is_dir()))
        {
            return Ok(made);
        }
        let ends = (1..resolved.len())
            .filter(|&at| resolved[at] == b'/')
            .chain([resolved.len()]);
        for end in ends {
            let prefix = &resolved[..end];
            let fail = |error: io::Error| TreeError::os("mkdir", prefix, error);
            let Some((parent, name)) = self.open_parent(prefix).map_err(fail)? else {
                continue;
            };
            match parent.make_dir(&name) {
                Ok(()) => {
                    attributes.set(&parent, &name).map_err(fail)?;
                    made.push(prefix.to_vec());
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    // What is there may be a symlink made by the source of an earlier copy: then it counts as a file.
                    if !parent.metadata(&name).map_err(fail)?.is_dir() {
                        return Err(fail(Errno::NOTDIR.into()));
                    }
                }
                Err(error) => return Err(fail(error)),
            }
        }
        Ok(made)
    }

    /// Where something shall be made: the resolved path, the open parent and the name in it.
    fn destination(
        &self,
        op: &'static str,
        given: &str,
    ) -> Result<(Vec<u8>, Dir, Name), TreeError> {
        let resolved = self.resolve(path::absolute(given).as_bytes(), Follow::Yes)?;
        let parent = self
            .open_parent(&resolved)
            .map_err(|error| TreeError::os(op, &resolved, error))?;
        let (parent, name) = parent.ok_or_else(|| TreeError::IsRoot {
            op,
            path: given.to_owned(),
        })?;
        Ok((resolved, parent, name))
    }
}

fn made(mode: u32, owner: Option<Owner>, timestamp: Option<Timestamp>) -> Attributes {
    Attributes {
        owner,
        mode: Some(mode & 0o777),
        times: timestamp.map(|time| (time, time)),
        ..Attributes::default()
    }
}
