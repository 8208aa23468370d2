//! Everything in a local export that is no directory.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timestamps, Uid, chownat, fstat, mknodat, openat,
    readlinkat, renameat, statat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::Job;
use super::directory::DirNode;
use super::metadata::Metadata;
use super::queue::Source;
use super::remove::remove;
use crate::{ExportError, files};

impl Job {
    pub(super) fn copy_files(
        &self,
        node: &Arc<DirNode>,
        sources: &[Source],
        files: &[(CString, usize)],
    ) -> Result<(), ExportError> {
        for (name, position) in files {
            self.cancelled.check().map_err(|_| ExportError::Canceled)?;
            let (_, source) = &sources[*position];
            self.copy_entry(node, name, source)
                .map_err(|(action, error)| {
                    self.file_error(action, node, Some(name.as_bytes()), error)
                })?;
        }
        self.copied.fetch_add(files.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn copy_entry(
        &self,
        node: &Arc<DirNode>,
        name: &CString,
        source: &OwnedFd,
    ) -> Result<(), Failure> {
        let stat = statat(source, name, AtFlags::SYMLINK_NOFOLLOW).map_err(reading)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let inode = (stat.st_dev, stat.st_ino);
                match stat.st_nlink > 1 && !self.links.claim(inode, node.place_of(name.as_bytes()))
                {
                    true => Ok(()),
                    false => self.copy_regular(node, name, source),
                }
            }
            FileType::Symlink => self.copy_symlink(node, name, source, &stat),
            // Nothing listens on a socket that lies in a result.
            FileType::Socket => Ok(()),
            kind => self.make_node(node, name, kind, &stat),
        }
    }

    fn copy_regular(
        &self,
        node: &DirNode,
        name: &CString,
        source: &OwnedFd,
    ) -> Result<(), Failure> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let from = File::from(openat(source, name, flags, Mode::empty()).map_err(reading)?);
        let attributes =
            Metadata::of(from.as_fd(), self.owner, self.epoch).map_err(|error| ("read", error))?;
        let size = from.metadata().map_err(|error| ("read", error))?.len();

        let create =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&node.fd, name, create, Mode::RUSR | Mode::WUSR) {
            Ok(file) => return self.fill(File::from(file), &from, size, &attributes),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(("create", error.into())),
        }
        if self.keep_if_equal(node, name, &from, size, &attributes)? {
            return Ok(());
        }
        self.replace(node, name, |temporary| {
            let file =
                openat(&node.fd, temporary, create, Mode::RUSR | Mode::WUSR).map_err(writing)?;
            self.fill(File::from(file), &from, size, &attributes)
        })
    }

    fn fill(
        &self,
        mut file: File,
        from: &File,
        size: u64,
        attributes: &Metadata,
    ) -> Result<(), Failure> {
        files::copy_data(from, &mut file, size, &self.cancelled)
            .map_err(|error| ("write", error))?;
        let stat = fstat(&file).map_err(writing)?;
        attributes
            .apply(file.as_fd(), &stat)
            .map_err(|error| ("set the attributes of", error))
    }

    /// A file that holds the right bytes already is not written again; only its attributes are set where they differ.
    fn keep_if_equal(
        &self,
        node: &DirNode,
        name: &CString,
        from: &File,
        size: u64,
        attributes: &Metadata,
    ) -> Result<bool, Failure> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(there) = openat(&node.fd, name, flags, Mode::empty()) else {
            return Ok(false);
        };
        let there = File::from(there);
        let stat = fstat(&there).map_err(writing)?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !regular
            || stat.st_size as u64 != size
            || !files::same_data(from, &there).unwrap_or(false)
        {
            return Ok(false);
        }
        // Another's file cannot be given the attributes: it is replaced instead.
        Ok(attributes.matches(there.as_fd(), &stat)
            || attributes.apply(there.as_fd(), &stat).is_ok())
    }

    fn copy_symlink(
        &self,
        node: &DirNode,
        name: &CString,
        source: &OwnedFd,
        stat: &Stat,
    ) -> Result<(), Failure> {
        let target = readlinkat(source, name, Vec::new()).map_err(reading)?;
        let there = readlinkat(&node.fd, name, Vec::new());
        if there.as_deref() != Ok(target.as_c_str()) {
            let make = |at: &CString| symlinkat(&target, &node.fd, at).map_err(writing);
            match symlinkat(&target, &node.fd, name) {
                Err(Errno::EXIST) => self.replace(node, name, make)?,
                other => other.map_err(writing)?,
            }
        }
        self.finish_unopened(node, name, stat)
    }

    fn make_node(
        &self,
        node: &DirNode,
        name: &CString,
        kind: FileType,
        stat: &Stat,
    ) -> Result<(), Failure> {
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        let make = |at: &CString| {
            mknodat(&node.fd, at, kind, mode, stat.st_rdev)
                .map_err(|error| ("create device", error.into()))
        };
        match statat(&node.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => make(name)?,
            Err(error) => return Err(writing(error)),
            Ok(there) => {
                let same =
                    FileType::from_raw_mode(there.st_mode) == kind && there.st_rdev == stat.st_rdev;
                if !same {
                    self.replace(node, name, make)?;
                }
            }
        }
        rustix::fs::chmodat(&node.fd, name, mode, AtFlags::empty()).map_err(writing)?;
        self.finish_unopened(node, name, stat)
    }

    /// Owner and time of something that is not opened.
    fn finish_unopened(&self, node: &DirNode, name: &CString, stat: &Stat) -> Result<(), Failure> {
        let Metadata { owner, time, .. } = Metadata::from_stat(stat, self.owner, self.epoch);
        let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        chownat(
            &node.fd,
            name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(writing)?;
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        utimensat(&node.fd, name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(writing)
    }

    fn replace(
        &self,
        node: &DirNode,
        name: &CString,
        make: impl FnOnce(&CString) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        replace(node.fd.as_fd(), name, make)
    }
}

/// Makes something under another name and moves it to where something else is.
pub(super) fn replace(
    directory: BorrowedFd<'_>,
    name: &CString,
    make: impl FnOnce(&CString) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let temporary =
        CString::new(files::temporary_name()).map_err(|error| ("create", error.into()))?;
    let outcome =
        make(&temporary).and_then(
            |()| match renameat(directory, &temporary, directory, name) {
                Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
                    remove(directory, name).map_err(writing)?;
                    renameat(directory, &temporary, directory, name).map_err(writing)
                }
                other => other.map_err(writing),
            },
        );
    if outcome.is_err() {
        rustix::fs::unlinkat(directory, &temporary, AtFlags::empty()).ok();
    }
    outcome
}

/// What was being done, and why it failed.
pub(super) type Failure = (&'static str, std::io::Error);

fn reading(error: Errno) -> Failure {
    ("read", error.into())
}

pub(super) fn writing(error: Errno) -> Failure {
    ("write", error.into())
}
