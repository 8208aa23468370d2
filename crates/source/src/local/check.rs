//! A closer look at files whose stamps changed although nothing else seems to have.

use std::fs::File;

use kiln_store::walk::{Entry, Kind, crew, xattr};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};

use super::content::Copier;
use super::plan::Step;
use super::write::{Batch, Writer};
use crate::error::SourceError;

impl Writer<'_> {
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
        let (directory, _) = self.work.entries[batch.start].split();
        let here = self.work.root.directory(directory);
        let there = self
            .before
            .as_ref()
            .map(|before| before.directory(directory));
        for (at, step) in batch.of(steps) {
            if *step != Step::Check {
                continue;
            }
            self.go_on()?;
            let same = match (&here, &there) {
                (Ok(here), Some(Ok(there))) => same(here, there, &self.work.entries[at], copier),
                _ => false,
            };
            found.push((at, if same { Step::Keep } else { Step::Make }));
        }
        Ok(())
    }
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
