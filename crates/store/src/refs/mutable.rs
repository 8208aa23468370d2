//! Trees being made.

use std::path::{Path, PathBuf};

use super::hold::Hold;
use super::record::{Files, Kind, NewRecord, Record, State};
use super::{MutableOptions, Ref};
use crate::mount::{Access, Mount, WritableLayer};
use crate::store::{Store, StoreError};

/// A tree of files being made. Dropping it discards the tree without blocking; so does the death of the process.
#[derive(Debug)]
pub struct MutableRef {
    store: Store,
    record: Record,
    parent: Option<Ref>,
    tree: PathBuf,
    hold: Hold,
    fate: Fate,
}

/// What becomes of a tree when its handle goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Discard,
    Keep,
}

impl Store {
    /// Starts a tree on top of `parent`, or an empty one. The parent must be materialized when the mounts are asked
    /// for.
    pub fn mutable(
        &self,
        parent: Option<&Ref>,
        options: MutableOptions,
    ) -> Result<MutableRef, StoreError> {
        let parents = parent.iter().map(|parent| parent.row()).collect();
        let new = NewRecord::new(
            Kind::Layer,
            State::Mutable,
            Files::Written,
            parents,
            options,
        );
        let (record, hold) = self.insert(&new)?;
        let made = MutableRef {
            store: self.clone(),
            tree: self.snapshots().tree(record.row),
            record,
            parent: parent.cloned(),
            hold,
            fate: Fate::Discard,
        };
        self.snapshots().create(made.record.row)?;
        Ok(made)
    }

    /// Adds a row that this process holds from the start.
    pub(super) fn insert(&self, new: &NewRecord) -> Result<(Record, Hold), StoreError> {
        let (record, hold) = self.database().transact(|transaction| {
            let record = new.insert(transaction, self.boot())?;
            // Held before anybody can see it.
            let hold = self.holds().hold(record.row);
            Ok((record, hold))
        })?;
        Ok((record, hold?))
    }
}

impl MutableRef {
    /// The id the tree will keep as a [`Ref`].
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// Writable mounts of the tree. Each call prepares one mount: call again for a second one after the first is
    /// gone, never have two at a time.
    pub fn mounts(&self) -> Result<Vec<Mount>, StoreError> {
        let Some(parent) = &self.parent else {
            return Ok(vec![Mount::bind(self.tree.clone(), Access::Write)]);
        };
        let layers = parent.mount_dirs()?;
        let snapshots = self.store.snapshots();
        // The root of an overlay is that of its topmost layer. Nobody has changed it before the first mount.
        if !snapshots.has_work_dirs(self.record.row)
            && let Some(topmost) = layers.first()
        {
            snapshots.copy_root(topmost, &self.tree)?;
        }
        let work = snapshots.new_work_dir(self.record.row)?;
        let top = WritableLayer {
            upper: &self.tree,
            work: &work,
        };
        Ok(vec![self.store.flavor().mount(&layers, Some(top))])
    }

    /// The directory where everything written to the tree lands. Without a parent it is the tree itself and may
    /// be written directly; with one it is the overlay's upper directory.
    pub fn upper_dir(&self) -> &Path {
        &self.tree
    }

    /// The tree's directory when it has no parent and can be written without a mount.
    pub fn local_dir(&self) -> Option<&Path> {
        self.parent.is_none().then_some(self.tree.as_path())
    }

    /// Makes the tree immutable. No data is copied: the tree stays where it is. No mount of it may be left.
    pub fn commit(mut self) -> Result<Ref, StoreError> {
        let row = self.record.row;
        let snapshots = self.store.snapshots();
        match &self.parent {
            // Never mounted: the root must not hide what that of the parent is like.
            Some(parent) if !snapshots.has_work_dirs(row) && !parent.is_lazy()? => {
                if let Some(topmost) = parent.mount_dirs()?.first() {
                    snapshots.copy_root(topmost, &self.tree)?;
                }
            }
            _ => {
                if let Some(grave) = snapshots.condemn_work_dirs(row)? {
                    self.store.bury(grave);
                }
            }
        }
        self.store.database().transact(|transaction| {
            transaction
                .prepare_cached("UPDATE refs SET state = ?2 WHERE row = ?1")?
                .execute((row, State::Committed))
        })?;
        self.fate = Fate::Keep;
        let record = Record {
            state: State::Committed,
            ..self.record.clone()
        };
        let parents = self.parent.take().into_iter().collect();
        Ok(self
            .store
            .adopt(self.hold.clone(), record, parents)
            .asked_for())
    }
}

impl Drop for MutableRef {
    fn drop(&mut self) {
        if self.fate == Fate::Discard {
            self.store.discard(self.hold.clone());
        }
    }
}
