//! A layer for use on top of something else than it was made on: what it changes, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use super::entry::{repeat_dir, repeat_file, repeat_times, whiteout};
use super::{Ref, new_id};
use crate::diff::{Change, ChangeKind, LayerSource, changes};
use crate::disk::{AtPath, DiskError};
use crate::mount::OverlayFlavor;
use crate::snapshot::remove_tree;
use crate::store::StoreError;

impl Ref {
    /// The own layer as changes that mean the same everywhere. A directory that a build step wrote says more: it
    /// repeats entries that were copied up and are as before, which must not hide others; and its opaque directories
    /// mean "these entries of what was below are deleted", which become a whiteout each.
    pub(super) fn moved_dir(&self) -> Result<PathBuf, StoreError> {
        let store = &self.inner.store;
        let target = store.snapshots().moved(self.row());
        if target.exists() {
            return Ok(target);
        }
        let Some(parent) = self.parents().first() else {
            return Ok(store.snapshots().tree(self.row()));
        };
        let tree = store.snapshots().tree(self.row());
        let unfinished = target.with_file_name(format!("moving-{}", new_id()));
        let mut rewriting = Rewriting {
            source: &tree,
            target: &unfinished,
            flavor: store.flavor(),
            directories: Vec::new(),
        };
        rewriting.run(&parent.mount_dirs()?)?;
        match fs::rename(&unfinished, &target) {
            // Somebody else was faster.
            Err(_) if target.exists() => remove_tree(&unfinished)?,
            result => result.at("create", &target)?,
        }
        Ok(target)
    }
}

/// A layer being written anew.
struct Rewriting<'a> {
    source: &'a Path,
    target: &'a Path,
    flavor: OverlayFlavor,
    /// What was made of directories, each before those in it.
    directories: Vec<PathBuf>,
}

impl Rewriting<'_> {
    fn run(&mut self, below: &[PathBuf]) -> Result<(), StoreError> {
        self.directory(Path::new(""))?;
        let source = LayerSource {
            upper: self.source,
            lower: below,
        };
        changes(&source, |change| {
            self.change(change).map_err(StoreError::from)
        })?;
        for path in self.directories.iter().rev() {
            repeat_times(&self.source.join(path), &self.target.join(path))?;
        }
        Ok(())
    }

    fn change(&mut self, change: &Change<'_>) -> Result<(), DiskError> {
        if change.kind == ChangeKind::Unmodified {
            return Ok(());
        }
        self.parents(change.path)?;
        let (from, to) = (self.source.join(change.path), self.target.join(change.path));
        match change.metadata {
            None => whiteout(&to, self.flavor),
            Some(metadata) if metadata.is_dir() => self.directory(change.path),
            Some(_) => repeat_file(&from, Some(&from), &to),
        }
    }

    /// Makes the directories above a path that are not there yet: they only hold changes.
    fn parents(&mut self, path: &Path) -> Result<(), DiskError> {
        let missing: Vec<&Path> = path
            .ancestors()
            .skip(1)
            .take_while(|directory| !self.target.join(directory).exists())
            .collect();
        missing
            .into_iter()
            .rev()
            .try_for_each(|directory| self.directory(directory))
    }

    fn directory(&mut self, path: &Path) -> Result<(), DiskError> {
        self.directories.push(path.to_owned());
        repeat_dir(&self.source.join(path), &self.target.join(path))
    }
}
