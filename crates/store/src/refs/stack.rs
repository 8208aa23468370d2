//! The layers of a ref in order, and the directories they are mounted from.

use std::collections::HashSet;
use std::path::PathBuf;

use super::Ref;
use super::record::{Files, Kind, Record};
use crate::mount::{Access, MAX_LAYERS, Mount, MountError};
use crate::store::StoreError;

/// Where a layer lies in a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// On exactly what it was made on.
    Own,
    /// On something else.
    Moved,
}

impl Ref {
    /// The refs that own the layers, bottom first, as they are exported: a layer may occur twice.
    pub(super) fn stack(&self) -> Vec<Ref> {
        let mut layers = Vec::new();
        self.push_stack(&mut layers);
        layers
    }

    fn push_stack(&self, layers: &mut Vec<Ref>) {
        match (self.inner.record.kind, self.parents()) {
            (Kind::Layer, parents) => {
                if let Some(parent) = parents.first() {
                    parent.push_stack(layers);
                }
                layers.push(self.clone());
            }
            (Kind::Diff, _) => layers.push(self.clone()),
            (Kind::Slice, [lower, upper]) => {
                let below = lower.stack().len();
                layers.extend(upper.stack().into_iter().skip(below));
            }
            (Kind::Merge | Kind::Slice, parents) => {
                parents.iter().for_each(|parent| parent.push_stack(layers))
            }
        }
    }

    /// The layers as they are mounted, bottom first. Overlayfs takes no layer twice; the upper occurrence alone
    /// means the same, because it hides or repeats everything the lower one says.
    pub(super) fn mounted_stack(&self) -> Vec<Ref> {
        let mut seen = HashSet::new();
        let mut layers: Vec<Ref> = self
            .stack()
            .into_iter()
            .rev()
            .filter(|layer| seen.insert(layer.row()))
            .collect();
        layers.reverse();
        layers
    }

    /// The directories to mount, topmost first.
    pub(super) fn mount_dirs(&self) -> Result<Vec<PathBuf>, StoreError> {
        let stack = self.mounted_stack();
        if stack.len() > MAX_LAYERS {
            let layers = stack.len();
            return Err(MountError::TooManyLayers {
                layers,
                limit: MAX_LAYERS,
            }
            .into());
        }
        let mut directories = Vec::with_capacity(stack.len());
        let mut position = Position::Own;
        for (height, layer) in stack.iter().enumerate() {
            layer.require_files()?;
            position = layer.position(&stack[..height], position);
            directories.push(layer.dir_at(position)?);
        }
        directories.reverse();
        Ok(directories)
    }

    /// Whether the layer lies on what it was made on. `lower` is the position of the layer below.
    fn position(&self, below: &[Ref], lower: Position) -> Position {
        let is_own = match (self.parents().first(), below.last()) {
            (parent, None) => parent.is_none() || self.inner.record.kind != Kind::Layer,
            (Some(parent), Some(last)) if parent.row() == last.row() => lower == Position::Own,
            (Some(parent), Some(_)) => parent
                .mounted_stack()
                .iter()
                .map(Ref::row)
                .eq(below.iter().map(Ref::row)),
            (None, Some(_)) => false,
        };
        if is_own {
            Position::Own
        } else {
            Position::Moved
        }
    }

    /// The directory of this layer. One that a build step wrote says more than what the step changed: on top of
    /// something else it is used without that, as it is exported.
    fn dir_at(&self, position: Position) -> Result<PathBuf, StoreError> {
        let tree = self.inner.store.snapshots().tree(self.row());
        let can_differ = position == Position::Moved
            && self.inner.record.kind == Kind::Layer
            && !self.parents().is_empty()
            && self.files()? == Files::Written;
        if can_differ {
            self.moved_dir()
        } else {
            Ok(tree)
        }
    }

    pub(super) fn read_only_mounts(&self) -> Result<Vec<Mount>, StoreError> {
        if let Some(directory) = self.plain_dir()? {
            return Ok(vec![Mount::bind(directory, Access::Read)]);
        }
        let mut layers = self.mount_dirs()?;
        if layers.len() < 2 {
            // Overlayfs wants two layers if none is writable.
            layers.push(self.inner.store.snapshots().empty().to_owned());
        }
        Ok(vec![self.inner.store.flavor().mount(&layers, None)])
    }

    pub(super) fn plain_dir(&self) -> Result<Option<PathBuf>, StoreError> {
        let stack = self.mounted_stack();
        let [layer] = stack.as_slice() else {
            return Ok(None);
        };
        layer.require_files()?;
        let is_whole = layer.inner.record.kind == Kind::Layer && layer.parents().is_empty();
        Ok(is_whole.then(|| self.inner.store.snapshots().tree(layer.row())))
    }

    /// Where the files of its own layer are. Another process may have brought them.
    pub(super) fn files(&self) -> Result<Files, StoreError> {
        if let Some(files) = self.inner.files.get() {
            return Ok(*files);
        }
        let found = self
            .inner
            .store
            .database()
            .query(|connection| Record::find(connection, self.row()))?;
        match found.map(|record| record.files) {
            Some(files) if files != Files::Lazy => Ok(*self.inner.files.get_or_init(|| files)),
            _ => Ok(Files::Lazy),
        }
    }

    /// Whether the files of its own layer are here.
    pub(super) fn has_files(&self) -> Result<bool, StoreError> {
        Ok(self.files()? != Files::Lazy)
    }

    fn require_files(&self) -> Result<(), StoreError> {
        if self.has_files()? {
            Ok(())
        } else {
            Err(StoreError::Lazy {
                id: self.id().to_owned(),
            })
        }
    }

    /// Whether a layer of it is still to be downloaded or unpacked, or a diff to be computed.
    pub fn is_lazy(&self) -> Result<bool, StoreError> {
        for layer in self.mounted_stack() {
            if !layer.has_files()? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
