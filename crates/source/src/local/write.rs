//! Writing a snapshot: links to the one before where nothing changed, copies elsewhere.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kiln_store::checksum::FileHash;
use kiln_store::walk::{Entry, Kind, Stamp, WalkRoot, crew, xattr};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, Timespec, Timestamps};
use rustix::io::Errno;

use super::content::{Cloning, Copier};
use super::index::Trust;
use super::make::unless_gone;
use super::plan::Step;
use super::source::{LocalProgress, TransferProgress};
use crate::error::SourceError;

/// Files of one directory that one thread takes at a time.
const BATCH: usize = 128;

/// A file as it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    pub(super) stamp: Stamp,
    pub(super) trust: Trust,
}

/// What came of writing.
pub(super) struct Written {
    /// One for each entry; `None` for a file that was gone by then.
    pub(super) made: Vec<Option<Made>>,
    /// What was made from the source, by its place in the list.
    pub(super) copied: Vec<usize>,
    /// Files that were hashed on the way, likewise.
    pub(super) hashes: Vec<(usize, FileHash)>,
}

/// What one thread works with and brings back.
#[derive(Default)]
pub(super) struct Hand {
    made: Vec<(usize, Option<Made>)>,
    pub(super) hashes: Vec<(usize, FileHash)>,
    pub(super) copier: Copier,
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

/// What is to be written, and for whom.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) root: &'a WalkRoot,
    pub(super) entries: &'a [Entry],
    /// The source's name.
    pub(super) name: &'a str,
    pub(super) stop: &'a AtomicBool,
    pub(super) progress: &'a LocalProgress,
}

/// Makes one snapshot.
pub(super) struct Writer<'a> {
    pub(super) work: Work<'a>,
    pub(super) before: Option<WalkRoot>,
    bytes: AtomicU64,
    files: AtomicU64,
    pub(super) cloning: Cloning,
    pub(super) batches: Vec<Batch>,
    pub(super) owner: Owner,
}

/// Neighbours in the list that are in one directory.
#[derive(Clone, Copy)]
pub(super) struct Batch {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Batch {
    /// The part of a list, with the places in it.
    pub(super) fn of(self, steps: &[Step]) -> impl Iterator<Item = (usize, &Step)> {
        (self.start..self.end).zip(&steps[self.start..self.end])
    }
}

/// Whether new files belong to root by themselves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    AlreadyRoot,
    ToBeSet,
}

impl<'a> Writer<'a> {
    /// A writer that takes unchanged files from the tree `before`.
    pub(super) fn new(work: Work<'a>, before: Option<&Path>) -> Self {
        let is_root = rustix::process::geteuid().is_root() && rustix::process::getegid().is_root();
        Self {
            work,
            // A snapshot that is gone is one to copy everything for.
            before: before.and_then(|path| WalkRoot::open(path).ok()),
            bytes: AtomicU64::new(0),
            files: AtomicU64::new(0),
            cloning: Cloning::default(),
            batches: batches(work.entries),
            owner: if is_root {
                Owner::AlreadyRoot
            } else {
                Owner::ToBeSet
            },
        }
    }

    /// Writes everything into `target`.
    pub(super) fn write(&self, target: &Path, steps: &[Step]) -> Result<Written, SourceError> {
        let target = WalkRoot::open(target)
            .map_err(|error| self.write_error("open", target.to_owned(), error.into()))?;
        self.make_directories(&target)?;
        let hands = crew::run(self.batches.clone(), |batch, hand: &mut Hand, _| {
            self.write_batch(batch, steps, &target, hand)
        })?;
        let from_scan = |entry: &Entry| Some(Made::of(&entry.stamp));
        let mut made: Vec<Option<Made>> = self.work.entries.iter().map(from_scan).collect();
        let (mut copied, mut hashes) = (Vec::new(), Vec::new());
        for hand in hands {
            for (at, as_read) in hand.made {
                made[at] = as_read;
                copied.push(at);
            }
            hashes.extend(hand.hashes);
        }
        self.make_links(&target, steps, &mut made)?;
        self.finish_directories(&target)?;
        self.report();
        Ok(Written {
            made,
            copied,
            hashes,
        })
    }

    /// All directories, closed to others until they have their attributes.
    fn make_directories(&self, target: &WalkRoot) -> Result<(), SourceError> {
        for entry in self
            .work
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
        target: &WalkRoot,
        hand: &mut Hand,
    ) -> Result<(), SourceError> {
        let (directory, _) = self.work.entries[batch.start].split();
        let path = || PathBuf::from(OsStr::from_bytes(directory));
        let into = target
            .directory(directory)
            .map_err(|error| self.write_error("open directory", path(), error.into()))?;
        let before = self
            .before
            .as_ref()
            .and_then(|before| before.directory(directory).ok());
        // Only those that copy anything need the source.
        let mut from: Option<Option<OwnedFd>> = None;
        for (at, step) in batch.of(steps) {
            let entry = &self.work.entries[at];
            if entry.stamp.kind == Kind::Directory || matches!(step, Step::Link(_)) {
                continue;
            }
            self.go_on()?;
            let link = || {
                before
                    .as_ref()
                    .is_some_and(|before| link(before, &into, entry))
            };
            if *step != Step::Keep || !link() {
                if from.is_none() {
                    let opened = unless_gone(self.work.root.directory(directory));
                    let opened = opened
                        .map_err(|error| self.read_error("open directory", entry, error.into()));
                    from = Some(opened?);
                }
                let made = match &from {
                    Some(Some(from)) => self.make(at, from, &into, hand)?,
                    _ => None,
                };
                hand.made.push((at, made));
            }
            self.files.fetch_add(1, Ordering::Relaxed);
        }
        self.report();
        Ok(())
    }

    /// Further names of files that exist by now.
    fn make_links(
        &self,
        target: &WalkRoot,
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
                self.work.entries[*first].path.as_slice(),
                self.work.entries[at].path.as_slice(),
            );
            rustix::fs::linkat(target.fd(), old, target.fd(), new, AtFlags::empty()).map_err(
                |error| self.write_error("link", path_of(&self.work.entries[at]), error.into()),
            )?;
            self.files.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Attributes of directories, the deepest first: whoever is in one changes its times.
    fn finish_directories(&self, target: &WalkRoot) -> Result<(), SourceError> {
        let directories = self
            .work
            .entries
            .iter()
            .filter(|entry| entry.stamp.kind == Kind::Directory);
        for entry in directories.rev() {
            let written =
                |error: Errno| self.write_error("set attributes of", path_of(entry), error.into());
            let made = target.directory(&entry.path).map_err(written)?;
            if let Ok(source) = self.work.root.directory(&entry.path) {
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

    pub(super) fn copied(&self, count: u64) {
        let before = self.bytes.fetch_add(count, Ordering::Relaxed);
        // Large files are told about on the way, small ones with their batch.
        if before >> 20 != (before + count) >> 20 {
            self.report();
        }
    }

    pub(super) fn report(&self) {
        let (bytes, files) = (
            self.bytes.load(Ordering::Relaxed),
            self.files.load(Ordering::Relaxed),
        );
        (self.work.progress)(TransferProgress { bytes, files });
    }

    pub(super) fn go_on(&self) -> Result<(), SourceError> {
        match self.work.stop.load(Ordering::Relaxed) {
            true => Err(SourceError::Stopped {
                name: self.work.name.to_owned(),
            }),
            false => Ok(()),
        }
    }

    pub(super) fn changing(&self, entry: &Entry) -> SourceError {
        SourceError::Changing {
            name: self.work.name.to_owned(),
            path: path_of(entry),
        }
    }

    pub(super) fn read_error(
        &self,
        action: &'static str,
        entry: &Entry,
        source: io::Error,
    ) -> SourceError {
        SourceError::Read {
            name: self.work.name.to_owned(),
            action,
            path: path_of(entry),
            source,
        }
    }

    pub(super) fn write_error(
        &self,
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    ) -> SourceError {
        SourceError::Write {
            name: self.work.name.to_owned(),
            action,
            path,
            source,
        }
    }
}

pub(super) fn path_of(entry: &Entry) -> PathBuf {
    path_of_bytes(&entry.path)
}

pub(super) fn path_of_bytes(path: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(path))
}

pub(super) fn times(stamp: &Stamp) -> Timestamps {
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
