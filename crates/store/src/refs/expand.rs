//! Opaque directories spelled out: the same layer for use on top of something else.

use std::fs;
use std::path::{Path, PathBuf};

use super::entry::{
    find_attribute, is_whiteout, names, repeat_dir, repeat_file, repeat_times, whiteout,
};
use super::{Ref, new_id};
use crate::disk::{AtPath, DiskError};
use crate::snapshot::remove_tree;
use crate::store::StoreError;

/// Whether what lies below a directory is hidden by it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Below {
    Visible,
    Hidden,
}

impl Ref {
    /// Whether its own layer has opaque directories. Looked at once, then remembered.
    pub(super) fn has_opaque_dirs(&self) -> Result<bool, StoreError> {
        let store = &self.inner.store;
        let known = store.database().query(|connection| {
            let mut query = connection.prepare_cached("SELECT opaque FROM refs WHERE row = ?1")?;
            query.query_row([self.row()], |row| row.get::<_, Option<bool>>(0))
        })?;
        if let Some(known) = known {
            return Ok(known);
        }
        let found = find_opaque(
            &store.snapshots().tree(self.row()),
            store.flavor().opaque_attribute(),
        )?;
        store.database().transact(|transaction| {
            transaction
                .prepare_cached("UPDATE refs SET opaque = ?2 WHERE row = ?1")?
                .execute((self.row(), found))
        })?;
        Ok(found)
    }

    /// The own layer with a whiteout for each entry that its opaque directories hide of what it was made on.
    pub(super) fn expanded_dir(&self) -> Result<PathBuf, StoreError> {
        let store = &self.inner.store;
        let target = store.snapshots().expanded(self.row());
        if target.exists() {
            return Ok(target);
        }
        let Some(parent) = self.parents().first() else {
            return Ok(store.snapshots().tree(self.row()));
        };
        let below = store.mount(&parent.mounts()?)?;
        let tree = store.snapshots().tree(self.row());
        let unfinished = target.with_file_name(format!("expanding-{}", new_id()));
        let expansion = Expansion {
            opaque: store.flavor().opaque_attribute(),
        };
        expansion.expand(&tree, &unfinished, below.path(), Below::Visible)?;
        match fs::rename(&unfinished, &target) {
            // Somebody else was faster.
            Err(_) if target.exists() => remove_tree(&unfinished)?,
            result => result.at("create", &target)?,
        }
        Ok(target)
    }
}

fn find_opaque(tree: &Path, attribute: &str) -> Result<bool, DiskError> {
    let mut pending = vec![tree.to_owned()];
    while let Some(directory) = pending.pop() {
        if find_attribute(&directory, attribute)?.is_some_and(|value| value == b"y") {
            return Ok(true);
        }
        for name in names(&directory)? {
            let path = directory.join(name);
            if fs::symlink_metadata(&path).at("look up", &path)?.is_dir() {
                pending.push(path);
            }
        }
    }
    Ok(false)
}

struct Expansion {
    opaque: &'static str,
}

impl Expansion {
    /// Repeats `source` as `target`; `below` is where the directory would be in the tree the layer was made on.
    fn expand(
        &self,
        source: &Path,
        target: &Path,
        below: &Path,
        visible: Below,
    ) -> Result<(), DiskError> {
        let is_opaque = find_attribute(source, self.opaque)?.is_some_and(|value| value == b"y");
        let visible = if is_opaque { Below::Hidden } else { visible };
        repeat_dir(source, target)?;
        let own = names(source)?;
        for name in &own {
            let (from, to) = (source.join(name), target.join(name));
            let metadata = fs::symlink_metadata(&from).at("look up", &from)?;
            if metadata.is_dir() {
                self.expand(&from, &to, &below.join(name), visible)?;
            } else if is_whiteout(&metadata) {
                whiteout(&to)?;
            } else {
                repeat_file(&from, Some(&from), &to)?;
            }
        }
        // `below` may pass a symbolic link in the lower tree; then there is no directory to hide anything of.
        if visible == Below::Hidden && fs::symlink_metadata(below).is_ok_and(|found| found.is_dir())
        {
            for name in names(below)? {
                if own.binary_search(&name).is_err() {
                    whiteout(&target.join(name))?;
                }
            }
        }
        repeat_times(source, target)
    }
}
