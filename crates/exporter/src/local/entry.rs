//! Everything in a local export that is no directory.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use kiln_store::place::{Failure, replace};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, fstat, mknodat, openat, readlinkat, statat, symlinkat,
};
use rustix::io::Errno;

use super::Job;
use super::directory::DirNode;
use super::metadata::{self, Metadata};
use super::queue::Source;
use crate::{ExportError, files};

/// How files are opened to be read: a FIFO or a device that has taken a file's place does not block.
const OPEN: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

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
        let original = self.open_original(source, name)?;
        let create =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&node.fd, name, create, Mode::RUSR | Mode::WUSR) {
            Ok(file) => return self.fill(File::from(file), &original),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(("create", error.into())),
        }
        if original.is_at(node, name)? {
            return Ok(());
        }
        replace(node.fd.as_fd(), name, |temporary| {
            let file =
                openat(&node.fd, temporary, create, Mode::RUSR | Mode::WUSR).map_err(writing)?;
            self.fill(File::from(file), &original)
        })
    }

    fn open_original(&self, source: &OwnedFd, name: &CString) -> Result<Original, Failure> {
        let file = File::from(openat(source, name, OPEN, Mode::empty()).map_err(reading)?);
        let attributes =
            metadata::of(file.as_fd(), self.owner, self.epoch).map_err(|error| ("read", error))?;
        let size = file.metadata().map_err(|error| ("read", error))?.len();
        Ok(Original {
            file,
            size,
            attributes,
        })
    }

    fn fill(&self, mut file: File, original: &Original) -> Result<(), Failure> {
        files::copy_data(&original.file, &mut file, original.size, &self.cancelled)
            .map_err(|error| ("write", error))?;
        let stat = fstat(&file).map_err(writing)?;
        let applied = original.attributes.apply(file.as_fd(), &stat);
        applied.map_err(|error| ("set the attributes of", error))
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
                Err(Errno::EXIST) => replace(node.fd.as_fd(), name, make)?,
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
                    replace(node.fd.as_fd(), name, make)?;
                }
            }
        }
        rustix::fs::chmodat(&node.fd, name, mode, AtFlags::empty()).map_err(writing)?;
        self.finish_unopened(node, name, stat)
    }

    /// Owner and time of something that is not opened.
    fn finish_unopened(&self, node: &DirNode, name: &CString, stat: &Stat) -> Result<(), Failure> {
        let attributes = metadata::from_stat(stat, self.owner, self.epoch);
        attributes
            .apply_unopened(&node.fd, name)
            .map_err(|error| ("write", error))
    }
}

/// A regular file of the result.
struct Original {
    file: File,
    size: u64,
    attributes: Metadata,
}

impl Original {
    /// Whether the file is there already. One with the right bytes is not written again; only its attributes are set
    /// where they differ.
    fn is_at(&self, node: &DirNode, name: &CString) -> Result<bool, Failure> {
        let Ok(there) = openat(&node.fd, name, OPEN, Mode::empty()) else {
            return Ok(false);
        };
        let there = File::from(there);
        let stat = fstat(&there).map_err(writing)?;
        let comparable = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_size as u64 == self.size;
        if !comparable || !files::same_data(&self.file, &there).unwrap_or(false) {
            return Ok(false);
        }
        // Another's file cannot be given the attributes: it is replaced instead.
        let settled = self.attributes.matches(there.as_fd(), &stat)
            || self.attributes.apply(there.as_fd(), &stat).is_ok();
        Ok(settled)
    }
}

fn reading(error: Errno) -> Failure {
    ("read", error.into())
}

pub(super) fn writing(error: Errno) -> Failure {
    ("write", error.into())
}
