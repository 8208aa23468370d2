//! Making one file of a snapshot from its source.

use std::ffi::CString;
use std::fs::File;

use kiln_store::checksum::{FileHash, RootHeader};
use kiln_store::tar::Timestamp;
use kiln_store::tree::{FileKind, Metadata};
use kiln_store::walk::{Entry, Kind, Stamp, xattr};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::content::{Copier, Files, stamp_of};
use super::index::Trust;
use super::write::{Hand, Made, Owner, Writer, path_of, times};
use crate::error::SourceError;

/// How often a file is read that changes while it is.
const ATTEMPTS: usize = 3;

impl Writer<'_> {
    pub(super) fn make(
        &self,
        at: usize,
        from: &OwnedFd,
        into: &OwnedFd,
        hand: &mut Hand,
    ) -> Result<Option<Made>, SourceError> {
        let entry = &self.work.entries[at];
        let (_, name) = entry.split();
        let written = |error: Errno| self.write_error("create", path_of(entry), error.into());
        let node = |kind: FileType, rdev: u64| {
            rustix::fs::mknodat(into, name, kind, Mode::RUSR | Mode::WUSR, rdev).map_err(written)
        };
        match entry.stamp.kind {
            Kind::File => return self.make_file(at, from, into, hand),
            Kind::Symlink => {
                let target = unless_gone(rustix::fs::readlinkat(from, name, Vec::new()));
                let target =
                    target.map_err(|error| self.read_error("read link", entry, error.into()))?;
                let Some(target) = target else {
                    return Ok(None);
                };
                rustix::fs::symlinkat(&target, into, name).map_err(written)?;
            }
            Kind::Fifo => node(FileType::Fifo, 0)?,
            Kind::CharDevice => node(FileType::CharacterDevice, entry.stamp.rdev)?,
            Kind::BlockDevice => node(FileType::BlockDevice, entry.stamp.rdev)?,
            Kind::Socket => node(FileType::RegularFile, 0)?,
            Kind::Directory => {}
        }
        self.set_attributes(into, name, &entry.stamp)
            .map_err(written)?;
        Ok(Some(Made::of(&entry.stamp)))
    }

    fn make_file(
        &self,
        at: usize,
        from: &OwnedFd,
        into: &OwnedFd,
        hand: &mut Hand,
    ) -> Result<Option<Made>, SourceError> {
        let entry = &self.work.entries[at];
        let (_, name) = entry.split();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = unless_gone(rustix::fs::openat(from, name, flags, Mode::empty()));
        let source = source.map_err(|error| self.read_error("open", entry, error.into()))?;
        let Some(source) = source.map(File::from) else {
            return Ok(None);
        };
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = rustix::fs::openat(into, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| self.write_error("create", path_of(entry), error.into()))?;
        let copy = File::from(copy);
        let attributes =
            xattr::read(&source).map_err(|error| self.read_error("read", entry, error.into()))?;
        let set = xattr::write(&copy, &attributes);
        let hashed = set == xattr::Outcome::All && self.owner == Owner::AlreadyRoot;
        let attributes = hashed.then_some(attributes.as_slice());
        let progress = |count| self.copied(count);
        let files = Files {
            from: &source,
            to: &copy,
            cloning: &self.cloning,
            progress: &progress,
        };
        let (made, hash) = self.copy_content(entry, &files, attributes, &mut hand.copier)?;
        hand.hashes.extend(hash.map(|hash| (at, hash)));
        self.finish_file(&copy, &made.stamp)
            .map_err(|error| self.write_error("set attributes of", path_of(entry), error.into()))?;
        Ok(Some(made))
    }

    /// Copies a file as it was at one moment, even if somebody writes to it. It is hashed
    /// if its attributes are given.
    fn copy_content(
        &self,
        entry: &Entry,
        files: &Files<'_>,
        attributes: Option<&[(CString, Vec<u8>)]>,
        copier: &mut Copier,
    ) -> Result<(Made, Option<FileHash>), SourceError> {
        let stamp_now =
            || stamp_of(files.from).map_err(|error| self.read_error("read", entry, error.into()));
        let mut stamp = stamp_now()?;
        if stamp.kind != Kind::File {
            return Err(self.changing(entry));
        }
        for attempt in 1..=ATTEMPTS {
            let mut hash = attributes.map(|attributes| file_hash(&stamp, attributes));
            let whole = copier
                .copy(files, stamp.size, &mut hash)
                .map_err(|error| self.write_error("copy", path_of(entry), error))?;
            let after = stamp_now()?;
            // What somebody appends to, such as a log, is taken as it was when we came.
            let only_grew = after.size > stamp.size && attempt == ATTEMPTS;
            if whole && (after == stamp || only_grew) {
                let trust = if after == stamp {
                    Trust::Stamp
                } else {
                    Trust::ReadAgain
                };
                return Ok((Made { stamp, trust }, hash));
            }
            rustix::fs::ftruncate(files.to, 0)
                .map_err(|error| self.write_error("truncate", path_of(entry), error.into()))?;
            stamp = after;
        }
        Err(self.changing(entry))
    }

    fn finish_file(&self, copy: &File, stamp: &Stamp) -> Result<(), Errno> {
        if self.owner == Owner::ToBeSet {
            let _ = rustix::fs::fchown(copy, Some(Uid::ROOT), Some(Gid::ROOT));
        }
        rustix::fs::fchmod(copy, Mode::from_raw_mode(stamp.mode))?;
        rustix::fs::futimens(copy, &times(stamp))
    }

    /// Attributes of what has no content.
    fn set_attributes(&self, directory: &OwnedFd, name: &[u8], stamp: &Stamp) -> Result<(), Errno> {
        if self.owner == Owner::ToBeSet {
            let (user, group) = (Some(Uid::ROOT), Some(Gid::ROOT));
            let _ = rustix::fs::chownat(directory, name, user, group, AtFlags::SYMLINK_NOFOLLOW);
        }
        if stamp.kind != Kind::Symlink {
            rustix::fs::chmodat(
                directory,
                name,
                Mode::from_raw_mode(stamp.mode),
                AtFlags::empty(),
            )?;
        }
        rustix::fs::utimensat(directory, name, &times(stamp), AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// What went away since it was seen is not there; whatever took its place is not meant.
pub(super) fn unless_gone<T>(outcome: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The beginning of the checksum that the copy of a file will have.
fn file_hash(stamp: &Stamp, attributes: &[(CString, Vec<u8>)]) -> FileHash {
    let time = Timestamp::default();
    let metadata = Metadata {
        kind: FileKind::File,
        mode: stamp.mode,
        owner: kiln_store::tree::Owner { uid: 0, gid: 0 },
        size: stamp.size,
        blocks: 0,
        atime: time,
        mtime: time,
        rdev: 0,
        inode: 0,
        dev: 0,
        links: 1,
    };
    FileHash::new(RootHeader::Ignored, &metadata, &[], attributes)
}
