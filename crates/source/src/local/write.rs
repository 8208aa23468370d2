//! Writing a snapshot: links to the one before where nothing changed, copies elsewhere.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::content::{Cloning, Copier, stamp_of};
use super::crew;
use super::entry::{Entry, Kind, Stamp};
use super::index::Trust;
use super::plan::Step;
use super::root::SourceRoot;
use super::source::{LocalProgress, TransferProgress};
use super::xattr;
use crate::error::SourceError;

/// Files of one directory that one thread takes at a time.
const BATCH: usize = 128;
/// How often a file is read that changes while it is.
const ATTEMPTS: usize = 3;

/// A file as it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    pub(super) stamp: Stamp,
    pub(super) trust: Trust,
}

impl Made {
    /// As its inode says.
    pub(super) fn of(stamp: &Stamp) -> Self {
        Self {
            stamp: *stamp,
            trust: Trust::Stamp,
        }
    }
}

/// What is read, what it is compared to, and who is told.
pub(super) struct Writer<'a> {
    root: &'a SourceRoot,
    entries: &'a [Entry],
    before: Option<SourceRoot>,
    name: &'a str,
    stop: &'a AtomicBool,
    progress: &'a LocalProgress,
    bytes: AtomicU64,
    files: AtomicU64,
    cloning: Cloning,
    batches: Vec<Batch>,
    owner: Owner,
}

/// Neighbours in the list that are in one directory.
#[derive(Clone, Copy)]
struct Batch {
    start: usize,
    end: usize,
}

/// Whether new files belong to root by themselves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    AlreadyRoot,
    ToBeSet,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        root: &'a SourceRoot,
        entries: &'a [Entry],
        before: Option<&Path>,
        name: &'a str,
        stop: &'a AtomicBool,
        progress: &'a LocalProgress,
    ) -> Result<Self, SourceError> {
        let is_root = rustix::process::geteuid().is_root() && rustix::process::getegid().is_root();
        Ok(Self {
            root,
            entries,
            // A snapshot that is gone is one to copy everything for.
            before: before.and_then(|path| SourceRoot::open(path).ok()),
            name,
            stop,
            progress,
            bytes: AtomicU64::new(0),
            files: AtomicU64::new(0),
            cloning: Cloning::default(),
            batches: batches(entries),
            owner: if is_root {
                Owner::AlreadyRoot
            } else {
                Owner::ToBeSet
            },
        })
    }

    /// Settles every [`Step::Check`].
    pub(super) fn check(&self, steps: &mut [Step]) -> Result<(), SourceError> {
        let open = |batch: &Batch| steps[batch.start..batch.end].contains(&Step::Check);
        let doubtful: Vec<Batch> = self.batches.iter().copied().filter(open).collect();
        if doubtful.is_empty() {
            return Ok(());
        }
        let settled = {
            let steps = &*steps;
            crew::run(
                doubtful,
                |batch, (found, copier): &mut (Vec<(usize, Step)>, Copier), _| {
                    self.check_batch(batch, steps, found, copier)
                },
            )?
        };
        for (at, step) in settled.into_iter().flat_map(|(found, _)| found) {
            steps[at] = step;
        }
        Ok(())
    }

    fn check_batch(
        &self,
        batch: Batch,
        steps: &[Step],
        found: &mut Vec<(usize, Step)>,
        copier: &mut Copier,
    ) -> Result<(), SourceError> {
        let (directory, _) = self.entries[batch.start].split();
        let here = self.root.directory(directory);
        let there = self
            .before
            .as_ref()
            .map(|before| before.directory(directory));
        for at in batch.start..batch.end {
            if steps[at] != Step::Check {
                continue;
            }
            self.go_on()?;
            let same = match (&here, &there) {
                (Ok(here), Some(Ok(there))) => same(here, there, &self.entries[at], copier),
                _ => false,
            };
            found.push((at, if same { Step::Keep } else { Step::Make }));
        }
        Ok(())
    }

    /// Writes everything into `target`, and tells what each file was when it was read.
    /// `None` stands for a file that was gone by then.
    pub(super) fn write(
        &self,
        target: &Path,
        steps: &[Step],
    ) -> Result<Vec<Option<Made>>, SourceError> {
        let target = SourceRoot::open(target)
            .map_err(|error| self.write_error("open", target.to_owned(), error.into()))?;
        self.make_directories(&target)?;
        let parts = crew::run(
            self.batches.clone(),
            |batch, (made, copier): &mut (Vec<(usize, Option<Made>)>, Copier), _| {
                self.write_batch(batch, steps, &target, made, copier)
            },
        )?;
        let from_scan = |entry: &Entry| Some(Made::of(&entry.stamp));
        let mut made: Vec<Option<Made>> = self.entries.iter().map(from_scan).collect();
        for (at, as_read) in parts.into_iter().flat_map(|(part, _)| part) {
            made[at] = as_read;
        }
        self.make_links(&target, steps, &mut made)?;
        self.finish_directories(&target)?;
        self.report();
        Ok(made)
    }

    /// All directories, closed to others until they have their attributes.
    fn make_directories(&self, target: &SourceRoot) -> Result<(), SourceError> {
        for entry in self
            .entries
            .iter()
            .filter(|entry| entry.stamp.kind == Kind::Directory)
        {
            rustix::fs::mkdirat(target.fd(), entry.path.as_slice(), Mode::RWXU).map_err(
                |error| self.write_error("create directory", path_of(entry), error.into()),
            )?;
        }
        Ok(())
    }

    fn write_batch(
        &self,
        batch: Batch,
        steps: &[Step],
        target: &SourceRoot,
        made: &mut Vec<(usize, Option<Made>)>,
        copier: &mut Copier,
    ) -> Result<(), SourceError> {
        let (directory, _) = self.entries[batch.start].split();
        let into = target.directory(directory).map_err(|error| {
            self.write_error(
                "open directory",
                PathBuf::from(OsStr::from_bytes(directory)),
                error.into(),
            )
        })?;
        let before = self
            .before
            .as_ref()
            .and_then(|before| before.directory(directory).ok());
        // Only those that copy anything need the source.
        let mut from: Option<OwnedFd> = None;
        for at in batch.start..batch.end {
            let entry = &self.entries[at];
            if entry.stamp.kind == Kind::Directory || matches!(steps[at], Step::Link(_)) {
                continue;
            }
            self.go_on()?;
            let kept = steps[at] == Step::Keep
                && before
                    .as_ref()
                    .is_some_and(|before| link(before, &into, entry));
            if !kept {
                if from.is_none() {
                    let opened = self.root.directory(directory);
                    from =
                        Some(opened.map_err(|error| {
                            self.read_error("open directory", entry, error.into())
                        })?);
                }
                if let Some(from) = &from {
                    made.push((at, self.make(entry, from, &into, copier)?));
                }
            }
            self.files.fetch_add(1, Ordering::Relaxed);
        }
        self.report();
        Ok(())
    }

    fn make(
        &self,
        entry: &Entry,
        from: &OwnedFd,
        into: &OwnedFd,
        copier: &mut Copier,
    ) -> Result<Option<Made>, SourceError> {
        let (_, name) = entry.split();
        let written = |error: Errno| self.write_error("create", path_of(entry), error.into());
        let node = |kind: FileType, rdev: u64| {
            rustix::fs::mknodat(into, name, kind, Mode::RUSR | Mode::WUSR, rdev).map_err(written)
        };
        match entry.stamp.kind {
            Kind::File => return self.copy_file(entry, from, into, copier),
            Kind::Symlink => {
                let target = match rustix::fs::readlinkat(from, name, Vec::new()) {
                    Ok(target) => target,
                    Err(Errno::NOENT) => return Ok(None),
                    Err(error) => return Err(self.read_error("read link", entry, error.into())),
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

    /// Copies a file as it was at one moment, even if somebody writes to it.
    fn copy_file(
        &self,
        entry: &Entry,
        from: &OwnedFd,
        into: &OwnedFd,
        copier: &mut Copier,
    ) -> Result<Option<Made>, SourceError> {
        let (_, name) = entry.split();
        let read = |error: io::Error| self.read_error("read", entry, error);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = match rustix::fs::openat(from, name, flags, Mode::empty()) {
            Ok(source) => File::from(source),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.read_error("open", entry, error.into())),
        };
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = rustix::fs::openat(into, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| self.write_error("create", path_of(entry), error.into()))?;
        let copy = File::from(copy);
        let mut stamp = stamp_of(&source).map_err(|error| read(error.into()))?;
        if stamp.kind != Kind::File {
            return Err(self.changing(entry));
        }
        for attempt in 1..=ATTEMPTS {
            let progress = |count| self.copied(count);
            let whole = copier
                .copy(&source, &copy, stamp.size, &self.cloning, &progress)
                .map_err(|error| self.write_error("copy", path_of(entry), error))?;
            let after = stamp_of(&source).map_err(|error| read(error.into()))?;
            let only_grew = after.size > stamp.size && whole;
            if whole && (after == stamp || (only_grew && attempt == ATTEMPTS)) {
                self.finish_file(&source, &copy, &stamp).map_err(|error| {
                    self.write_error("set attributes of", path_of(entry), error.into())
                })?;
                // What somebody appends to, such as a log, is taken as it was when we came.
                let trust = if after == stamp {
                    Trust::Stamp
                } else {
                    Trust::ReadAgain
                };
                return Ok(Some(Made { stamp, trust }));
            }
            rustix::fs::ftruncate(&copy, 0)
                .map_err(|error| self.write_error("truncate", path_of(entry), error.into()))?;
            stamp = after;
        }
        Err(self.changing(entry))
    }

    fn finish_file(&self, source: &File, copy: &File, stamp: &Stamp) -> Result<(), Errno> {
        if self.owner == Owner::ToBeSet {
            let _ = rustix::fs::fchown(
                copy,
                Some(rustix::fs::Uid::ROOT),
                Some(rustix::fs::Gid::ROOT),
            );
        }
        xattr::write(copy, &xattr::read(source)?);
        rustix::fs::fchmod(copy, Mode::from_raw_mode(stamp.mode))?;
        rustix::fs::futimens(copy, &times(stamp))
    }

    /// Attributes of what has no content.
    fn set_attributes(&self, directory: &OwnedFd, name: &[u8], stamp: &Stamp) -> Result<(), Errno> {
        if self.owner == Owner::ToBeSet {
            let (user, group) = (Some(rustix::fs::Uid::ROOT), Some(rustix::fs::Gid::ROOT));
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

    /// Further names of files that exist by now.
    fn make_links(
        &self,
        target: &SourceRoot,
        steps: &[Step],
        made: &mut [Option<Made>],
    ) -> Result<(), SourceError> {
        for (at, step) in steps.iter().enumerate() {
            let Step::Link(first) = step else { continue };
            made[at] = made[*first];
            if made[at].is_none() {
                continue;
            }
            let (old, new) = (
                self.entries[*first].path.as_slice(),
                self.entries[at].path.as_slice(),
            );
            rustix::fs::linkat(target.fd(), old, target.fd(), new, AtFlags::empty()).map_err(
                |error| self.write_error("link", path_of(&self.entries[at]), error.into()),
            )?;
            self.files.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Attributes of directories, the deepest first: whoever is in one changes its times.
    fn finish_directories(&self, target: &SourceRoot) -> Result<(), SourceError> {
        let directories = self
            .entries
            .iter()
            .filter(|entry| entry.stamp.kind == Kind::Directory);
        for entry in directories.rev() {
            let written =
                |error: Errno| self.write_error("set attributes of", path_of(entry), error.into());
            let made = target.directory(&entry.path).map_err(written)?;
            if let Ok(source) = self.root.directory(&entry.path) {
                let attributes = xattr::read(&source);
                xattr::write(
                    &made,
                    &attributes.map_err(|error| self.read_error("read", entry, error.into()))?,
                );
            }
            if self.owner == Owner::ToBeSet {
                let _ = rustix::fs::fchown(
                    &made,
                    Some(rustix::fs::Uid::ROOT),
                    Some(rustix::fs::Gid::ROOT),
                );
            }
            rustix::fs::fchmod(&made, Mode::from_raw_mode(entry.stamp.mode)).map_err(written)?;
            rustix::fs::futimens(&made, &times(&entry.stamp)).map_err(written)?;
            self.files.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn copied(&self, count: u64) {
        let before = self.bytes.fetch_add(count, Ordering::Relaxed);
        // Large files are told about on the way, small ones with their batch.
        if before >> 20 != (before + count) >> 20 {
            self.report();
        }
    }

    fn report(&self) {
        let (bytes, files) = (
            self.bytes.load(Ordering::Relaxed),
            self.files.load(Ordering::Relaxed),
        );
        (self.progress)(TransferProgress { bytes, files });
    }

    fn go_on(&self) -> Result<(), SourceError> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(SourceError::Stopped {
                name: self.name.to_owned(),
            }),
            false => Ok(()),
        }
    }

    fn changing(&self, entry: &Entry) -> SourceError {
        SourceError::Changing {
            name: self.name.to_owned(),
            path: path_of(entry),
        }
    }

    fn read_error(&self, action: &'static str, entry: &Entry, source: io::Error) -> SourceError {
        SourceError::Read {
            name: self.name.to_owned(),
            action,
            path: path_of(entry),
            source,
        }
    }

    fn write_error(&self, action: &'static str, path: PathBuf, source: io::Error) -> SourceError {
        SourceError::Write {
            name: self.name.to_owned(),
            action,
            path,
            source,
        }
    }
}

fn path_of(entry: &Entry) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(&entry.path))
}

fn times(stamp: &Stamp) -> Timestamps {
    let time = Timespec {
        tv_sec: stamp.mtime.seconds,
        tv_nsec: i64::from(stamp.mtime.nanos),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Cuts the list into runs of one directory.
fn batches(entries: &[Entry]) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        match batches.last_mut() {
            Some(last)
                if last.end - last.start < BATCH
                    && entries[last.start].split().0 == entry.split().0 =>
            {
                last.end = at + 1;
            }
            _ => batches.push(Batch {
                start: at,
                end: at + 1,
            }),
        }
    }
    batches
}

/// Whether a file could be taken over; a file system may allow only so many names.
fn link(before: &OwnedFd, into: &OwnedFd, entry: &Entry) -> bool {
    let (_, name) = entry.split();
    rustix::fs::linkat(before, name, into, name, AtFlags::empty()).is_ok()
}

/// Whether the source and the snapshot before agree about a file, by reading both.
fn same(here: &OwnedFd, there: &OwnedFd, entry: &Entry, copier: &mut Copier) -> bool {
    let (_, name) = entry.split();
    if entry.stamp.kind == Kind::Symlink {
        let read = |directory| rustix::fs::readlinkat(directory, name, Vec::new());
        return matches!((read(here), read(there)), (Ok(a), Ok(b)) if a == b);
    }
    if !matches!(entry.stamp.kind, Kind::File | Kind::Directory) {
        return true;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = |directory: &OwnedFd| rustix::fs::openat(directory, name, flags, Mode::empty());
    let (Ok(a), Ok(b)) = (open(here), open(there)) else {
        return false;
    };
    let attributes = |file: &OwnedFd| xattr::read(file.as_fd());
    if !matches!((attributes(&a), attributes(&b)), (Ok(a), Ok(b)) if a == b) {
        return false;
    }
    match entry.stamp.kind {
        Kind::File => copier.same(&File::from(a), &File::from(b)).unwrap_or(false),
        _ => true,
    }
}
