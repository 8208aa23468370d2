//! What lies below a layer: several directories seen as one, by overlayfs's rules, without a mount.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::path::PathBuf;

use super::DiffError;
use crate::tree::{Dir, Metadata, Name, Root};

/// Marks of a directory that hides the one below it.
const OPAQUE: [&CStr; 2] = [c"trusted.overlay.opaque", c"user.overlay.opaque"];

/// The directories below, topmost first.
pub(super) struct Base {
    layers: Vec<Root>,
}

/// A directory of the merged view: the layers that contribute to it, topmost first.
#[derive(Clone, Default)]
pub(super) struct BaseDir {
    layers: Vec<usize>,
}

/// What the merged view shows at a path.
pub(super) struct BaseEntry {
    pub(super) metadata: Metadata,
    /// The layer that it comes from.
    layer: usize,
    /// What is in it, if it is a directory.
    pub(super) dir: BaseDir,
}

impl Base {
    pub(super) fn new(lower: &[PathBuf]) -> Result<Self, DiffError> {
        let open = |path: &PathBuf| {
            Root::open(path).map_err(|error| DiffError::Path {
                path: path.clone(),
                source: std::io::Error::other(error),
            })
        };
        Ok(Self {
            layers: lower.iter().map(open).collect::<Result<_, _>>()?,
        })
    }

    /// The root of the view.
    pub(super) fn root(&self) -> BaseDir {
        BaseDir {
            layers: (0..self.layers.len()).collect(),
        }
    }

    /// What is at `path`, which is in `parent`.
    pub(super) fn find(
        &self,
        parent: &BaseDir,
        path: &[u8],
    ) -> Result<Option<BaseEntry>, DiffError> {
        let mut found: Option<BaseEntry> = None;
        for (position, &layer) in parent.layers.iter().enumerate() {
            let Some((dir, name)) = self.locate(layer, path)? else {
                continue;
            };
            let Some(metadata) = dir
                .find(&name)
                .map_err(|error| DiffError::path(path, error))?
            else {
                continue;
            };
            // A whiteout hides the layers below; a file hides them as well, and does not join a directory above it.
            if metadata.is_whiteout() || found.is_some() && !metadata.is_dir() {
                break;
            }
            let entry = found.get_or_insert_with(|| BaseEntry {
                metadata,
                layer,
                dir: BaseDir::default(),
            });
            if !metadata.is_dir() {
                break;
            }
            entry.dir.layers.push(layer);
            let last = position + 1 == parent.layers.len();
            if !last && is_opaque(&dir, &name).map_err(|error| DiffError::path(path, error))? {
                break;
            }
        }
        Ok(found)
    }

    /// Names that the view shows in a directory.
    pub(super) fn names(&self, dir: &BaseDir, path: &[u8]) -> Result<BTreeSet<Name>, DiffError> {
        let mut names = BTreeSet::new();
        for &layer in &dir.layers {
            let fail = |error| DiffError::path(path, error);
            names.extend(
                self.layers[layer]
                    .open_dir(path)
                    .map_err(fail)?
                    .names()
                    .map_err(fail)?,
            );
        }
        Ok(names)
    }

    /// The real directory and name of an entry.
    pub(super) fn open(
        &self,
        entry: &BaseEntry,
        path: &[u8],
    ) -> Result<Option<(Dir, Name)>, DiffError> {
        self.locate(entry.layer, path)
    }

    fn locate(&self, layer: usize, path: &[u8]) -> Result<Option<(Dir, Name)>, DiffError> {
        self.layers[layer]
            .open_parent(path)
            .map_err(|error| DiffError::path(path, error))
    }
}

/// Whether a directory hides the one below it.
pub(super) fn is_opaque(dir: &Dir, name: &CStr) -> std::io::Result<bool> {
    for key in OPAQUE {
        if dir.xattr(name, key)?.as_deref() == Some(b"y") {
            return Ok(true);
        }
    }
    Ok(false)
}
