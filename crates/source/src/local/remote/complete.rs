//! The rest of a snapshot, once everything that is new has come.

use std::fs::File;
use std::io;
use std::sync::Arc;

use kiln_session::transfer::{EntryKind, TreeEntry};
use kiln_store::checksum::{Checksums, RootHeader};
use kiln_store::walk::{WalkRoot, crew, walk_order, xattr};
use kiln_store::{Ref, Store};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::before::{Before, Keys, Listed};
use super::file::{Hand, Made};
use super::metadata::LISTING;
use super::sink::Step;
use super::target::{LastDirectory, Shared, attributes_of, finish_open, finish_unopened};
use crate::error::SourceError;
use crate::local::index::Trust;
use crate::local::source::CHECKSUMS;

/// Neighbours in the list that one thread takes at a time.
const BATCH: usize = 128;

/// A snapshot that has its directories and new files.
pub(super) struct Completion {
    pub(super) shared: Arc<Shared>,
    pub(super) entries: Vec<Arc<TreeEntry>>,
    pub(super) steps: Vec<Step>,
    pub(super) before: Option<Before>,
}

/// What one thread works with.
#[derive(Default)]
struct Places {
    before: LastDirectory,
    target: LastDirectory,
}

impl Completion {
    /// Makes everything that needs no content from the client.
    pub(super) fn make(&self) -> Result<(), SourceError> {
        let before = self
            .before
            .as_ref()
            .map(|before| WalkRoot::open(&before.tree));
        let before = before.transpose().map_err(|error| {
            SourceError::Internal(format!("the snapshot before cannot be opened: {error}"))
        })?;
        let batches = (0..self.entries.len()).step_by(BATCH).collect();
        crew::run(batches, |start: usize, places: &mut Places, _| {
            let end = self.entries.len().min(start + BATCH);
            (start..end).try_for_each(|at| self.make_one(at, before.as_ref(), places))
        })?;
        self.make_links()?;
        self.finish_directories()?;
        self.shared.report();
        Ok(())
    }

    fn make_one(
        &self,
        at: usize,
        before: Option<&WalkRoot>,
        places: &mut Places,
    ) -> Result<(), SourceError> {
        let (entry, step) = (&self.entries[at], self.steps[at]);
        let made = match (&entry.kind, step, before) {
            (EntryKind::Directory | EntryKind::Link(_), ..) => return Ok(()),
            (EntryKind::File, Step::Keep, Some(before)) => self.take_over(entry, before, places),
            (EntryKind::File, ..) => return Ok(()),
            (_, step, _) if step.is_made() => self.make_special(entry, places),
            _ => return Ok(()),
        };
        made.map_err(|error| self.shared.failed("create", entry, error))?;
        self.shared.completed(1);
        Ok(())
    }

    /// Makes a file of the snapshot before one of this, too. A file system may allow only so many
    /// names, then it is copied.
    fn take_over(
        &self,
        entry: &TreeEntry,
        before: &WalkRoot,
        places: &mut Places,
    ) -> io::Result<()> {
        let (directory, name) = entry.split();
        let from = places.before.open(before, directory)?;
        let to = places.target.open(&self.shared.root, directory)?;
        match rustix::fs::linkat(from, name, to, name, AtFlags::empty()) {
            Err(Errno::MLINK) => {}
            linked => return Ok(linked?),
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut old = File::from(rustix::fs::openat(from, name, flags, Mode::empty())?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut new = File::from(rustix::fs::openat(to, name, flags, mode)?);
        io::copy(&mut old, &mut new)?;
        xattr::write(&new, &attributes_of(entry));
        Ok(finish_open(&new, entry)?)
    }

    /// A symbolic link, pipe or device.
    fn make_special(&self, entry: &TreeEntry, places: &mut Places) -> io::Result<()> {
        let (directory, name) = entry.split();
        let directory = places.target.open(&self.shared.root, directory)?;
        let node = |kind, number| {
            rustix::fs::mknodat(directory, name, kind, Mode::RUSR | Mode::WUSR, number)
        };
        match &entry.kind {
            EntryKind::Symlink(target) => {
                rustix::fs::symlinkat(target.as_slice(), directory, name)?;
            }
            EntryKind::Pipe => node(FileType::Fifo, 0)?,
            EntryKind::CharDevice(number) => node(FileType::CharacterDevice, *number)?,
            EntryKind::BlockDevice(number) => node(FileType::BlockDevice, *number)?,
            EntryKind::Directory | EntryKind::File | EntryKind::Link(_) => return Ok(()),
        }
        let has_mode = !matches!(entry.kind, EntryKind::Symlink(_));
        Ok(finish_unopened(directory, name, entry, has_mode)?)
    }

    /// Further names of files, once those are there.
    fn make_links(&self) -> Result<(), SourceError> {
        let mut last = LastDirectory::default();
        let mut first = LastDirectory::default();
        for (entry, step) in self.entries.iter().zip(&self.steps) {
            let EntryKind::Link(target) = &entry.kind else {
                continue;
            };
            if !step.is_made() {
                continue;
            }
            let failed = |error: Errno| self.shared.failed("link", entry, error);
            if !self.step_of(target).is_some_and(Step::is_made) {
                return Err(failed(Errno::NOENT));
            }
            let (from, from_name) = split(target);
            let (to, name) = entry.split();
            let from = first.open(&self.shared.root, from).map_err(failed)?;
            let to = last.open(&self.shared.root, to).map_err(failed)?;
            rustix::fs::linkat(from, from_name, to, name, AtFlags::empty()).map_err(failed)?;
        }
        Ok(())
    }

    /// Attributes of directories, the deepest first: whoever is in one changes its times.
    fn finish_directories(&self) -> Result<(), SourceError> {
        for (entry, step) in self.entries.iter().zip(&self.steps).rev() {
            if entry.kind != EntryKind::Directory || !step.is_made() {
                continue;
            }
            let finished = self
                .shared
                .root
                .directory(&entry.path)
                .and_then(|directory| {
                    xattr::write(&directory, &attributes_of(entry));
                    finish_open(&directory, entry)
                });
            finished.map_err(|error| self.shared.failed("set attributes of", entry, error))?;
        }
        Ok(())
    }

    pub(super) fn write_listing(&self, listing: &[u8]) -> Result<(), SourceError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o644);
        let written = rustix::fs::openat(self.shared.root.fd(), LISTING, flags, mode)
            .map_err(io::Error::from)
            .and_then(|file| io::Write::write_all(&mut File::from(file), listing));
        written.map_err(|source| SourceError::Write {
            name: self.shared.name.clone(),
            action: "write",
            path: LISTING.into(),
            source,
        })
    }

    /// Keeps with the snapshot what the next one and the engine need to know.
    pub(super) fn keep(
        self,
        snapshot: &Ref,
        hands: Vec<Hand>,
        (store, keys): (&Store, &Keys),
    ) -> Result<(), SourceError> {
        let made: Vec<Made> = hands.into_iter().flat_map(|hand| hand.made).collect();
        let mut trust = vec![Trust::Stamp; self.entries.len()];
        let mut checksums = self
            .inherited()?
            .unwrap_or_else(|| Checksums::new(RootHeader::Ignored));
        for made in made {
            trust[made.at] = made.trust;
            let path = std::str::from_utf8(&self.entries[made.at].path);
            if let (Some(hash), Ok(path)) = (made.hash, path) {
                checksums.insert(path, hash);
            }
        }
        snapshot.set_value(CHECKSUMS, &checksums.to_bytes())?;
        let list = self.entries.into_iter().zip(trust);
        keys.keep(
            store,
            snapshot,
            list.map(|(entry, trust)| Listed { entry, trust }),
        )
    }

    /// The checksums of what both snapshots have.
    fn inherited(&self) -> Result<Option<Checksums>, SourceError> {
        let Some(before) = &self.before else {
            return Ok(None);
        };
        let Some(kept) = before.snapshot.value(CHECKSUMS)? else {
            return Ok(None);
        };
        let Ok(checksums) = Checksums::from_bytes(&kept) else {
            return Ok(None);
        };
        let changed = self.entries.iter().zip(&self.steps);
        let changed = changed.filter(|(entry, step)| !self.is_same(entry, **step, before));
        let gone = before
            .list
            .iter()
            .map(|listed| listed.entry.path.as_slice());
        let gone = gone.filter(|path| self.step_of(path).is_none());
        let paths = changed.map(|(entry, _)| entry.path.as_slice()).chain(gone);
        let paths: Result<Vec<&str>, _> = paths.map(std::str::from_utf8).collect();
        // Names that are no text cannot be told to the checksums.
        Ok(paths.ok().map(|paths| checksums.derive(paths)))
    }

    /// Whether an entry differs in nothing that checksums cover, apart from what is in it.
    fn is_same(&self, entry: &TreeEntry, step: Step, before: &Before) -> bool {
        match &entry.kind {
            EntryKind::Link(target) => {
                step == Step::Keep && self.step_of(target) == Some(Step::Keep)
            }
            EntryKind::Directory => before.find(&entry.path).is_some_and(|old| {
                old.kind == entry.kind
                    && (old.mode, old.uid, old.gid) == (entry.mode, entry.uid, entry.gid)
                    && old.xattrs == entry.xattrs
            }),
            _ => step == Step::Keep,
        }
    }

    fn step_of(&self, path: &[u8]) -> Option<Step> {
        let found = self
            .entries
            .binary_search_by(|entry| walk_order(&entry.path, path));
        found.ok().map(|at| self.steps[at])
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}
