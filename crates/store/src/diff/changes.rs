//! What a layer changes, found by walking its upper directory once.

use std::collections::BTreeSet;
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::base::{Base, BaseDir, BaseEntry, is_opaque};
use super::{DiffError, LayerSource, same};
use crate::tree::{Dir, Metadata, Name, Root, level};

const MAX_DEPTH: usize = 900;
const REDIRECT: &CStr = c"trusted.overlay.redirect";

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It is new.
    Add,
    /// It was there and is different now.
    Modify,
    /// It is gone.
    Delete,
    /// It is as before, but is one of several names of an inode, of which another one may have changed.
    Unmodified,
}

/// One change.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What happened.
    pub kind: ChangeKind,
    /// Path in the tree, relative.
    pub path: &'a Path,
    /// What is there now; `None` for a deletion.
    pub metadata: Option<Metadata>,
    pub(super) dir: &'a Dir,
    pub(super) name: &'a CStr,
}

/// Tells `on_change` everything that a layer changes, in the order in which it can be applied: directories before what
/// is in them, siblings by name. Unchanged directories that only hold changes are left out.
///
/// # Errors
/// A directory cannot be read, or `on_change` fails.
pub fn changes<E: From<DiffError>>(
    source: &LayerSource<'_>,
    on_change: impl FnMut(&Change<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let base = Base::new(source.lower)?;
    let fail = |error: io::Error| DiffError::Path {
        path: source.upper.to_owned(),
        source: error,
    };
    let root = Root::open(source.upper).map_err(|error| fail(io::Error::other(error)))?;
    let upper = root.open_dir(b"/").map_err(fail)?;
    let below = base.root();
    let mut walk = Walk {
        base: &base,
        on_change,
    };
    walk.overlay_dir(&upper, &below, &Position::root())
}

struct Walk<'a, F> {
    base: &'a Base,
    on_change: F,
}

/// Where the walk is.
struct Position {
    path: Vec<u8>,
    depth: usize,
}

/// An entry of the upper tree, or of the place where one is gone.
#[derive(Clone, Copy)]
struct Entry<'a> {
    dir: &'a Dir,
    name: &'a CStr,
    at: &'a Position,
}

impl Position {
    fn root() -> Self {
        Self {
            path: Vec::new(),
            depth: 0,
        }
    }

    fn child(&self, name: &CStr) -> Result<Self, DiffError> {
        let path = match self.path.as_slice() {
            b"" => name.to_bytes().to_vec(),
            parent => [parent, b"/", name.to_bytes()].concat(),
        };
        if self.depth >= MAX_DEPTH {
            return Err(DiffError::TooDeep(PathBuf::from(OsStr::from_bytes(&path))));
        }
        Ok(Self {
            path,
            depth: self.depth + 1,
        })
    }

    fn fail(&self, error: io::Error) -> DiffError {
        DiffError::path(&self.path, error)
    }
}

impl<E: From<DiffError>, F: FnMut(&Change<'_>) -> Result<(), E>> Walk<'_, F> {
    /// A directory of the upper tree, with whiteouts and opaque marks in it.
    fn overlay_dir(&mut self, upper: &Dir, below: &BaseDir, at: &Position) -> Result<(), E> {
        for name in upper.names().map_err(|error| at.fail(error))? {
            let at = at.child(&name)?;
            let metadata = upper.metadata(&name).map_err(|error| at.fail(error))?;
            let before = self.base.find(below, &at.path)?;
            if metadata.is_whiteout() {
                // A mark over nothing says nothing.
                if before.is_some() {
                    self.tell(
                        ChangeKind::Delete,
                        None,
                        Entry {
                            dir: upper,
                            name: &name,
                            at: &at,
                        },
                    )?;
                }
                continue;
            }
            self.compare(
                before.as_ref(),
                &metadata,
                Entry {
                    dir: upper,
                    name: &name,
                    at: &at,
                },
                Linked::Ignored,
            )?;
            if metadata.is_dir() {
                level(|| self.overlay_child(before, upper, &name, &at))?;
            }
        }
        Ok(())
    }

    fn overlay_child(
        &mut self,
        before: Option<BaseEntry>,
        upper: &Dir,
        name: &CStr,
        at: &Position,
    ) -> Result<(), E> {
        if upper
            .xattr(name, REDIRECT)
            .map_err(|error| at.fail(error))?
            .is_some_and(|target| !target.is_empty())
        {
            return Err(DiffError::Redirected(PathBuf::from(OsStr::from_bytes(&at.path))).into());
        }
        let dir = upper.open_dir(name).map_err(|error| at.fail(error))?;
        match before {
            Some(before) if is_opaque(upper, name).map_err(|error| at.fail(error))? => {
                self.opaque_dir(&dir, &before.dir, at)
            }
            before => {
                self.overlay_dir(&dir, &before.map(|entry| entry.dir).unwrap_or_default(), at)
            }
        }
    }

    /// An opaque directory: what it does not have is deleted, and marks in it mean nothing.
    fn opaque_dir(&mut self, upper: &Dir, below: &BaseDir, at: &Position) -> Result<(), E> {
        let mut names: BTreeSet<Name> = self.base.names(below, &at.path)?;
        names.extend(upper.names().map_err(|error| at.fail(error))?);
        for name in names {
            let at = at.child(&name)?;
            let now = upper
                .find(&name)
                .map_err(|error| at.fail(error))?
                .filter(|now| !now.is_whiteout());
            let before = self.base.find(below, &at.path)?;
            let Some(metadata) = now else {
                if before.is_some() {
                    self.tell(
                        ChangeKind::Delete,
                        None,
                        Entry {
                            dir: upper,
                            name: &name,
                            at: &at,
                        },
                    )?;
                }
                continue;
            };
            self.compare(
                before.as_ref(),
                &metadata,
                Entry {
                    dir: upper,
                    name: &name,
                    at: &at,
                },
                Linked::Told,
            )?;
            if metadata.is_dir() {
                let dir = upper.open_dir(&name).map_err(|error| at.fail(error))?;
                let below = before.map(|entry| entry.dir).unwrap_or_default();
                level(|| self.opaque_dir(&dir, &below, &at))?;
            }
        }
        Ok(())
    }

    /// Tells what became of a path that is there now.
    fn compare(
        &mut self,
        before: Option<&BaseEntry>,
        metadata: &Metadata,
        entry: Entry<'_>,
        linked: Linked,
    ) -> Result<(), E> {
        let kind = match before {
            None => ChangeKind::Add,
            Some(before) if !self.is_same(before, metadata, entry)? => ChangeKind::Modify,
            Some(_) if linked == Linked::Told && metadata.is_hard_linked() => {
                ChangeKind::Unmodified
            }
            Some(_) => return Ok(()),
        };
        self.tell(kind, Some(*metadata), entry)
    }

    fn is_same(
        &self,
        before: &BaseEntry,
        metadata: &Metadata,
        entry: Entry<'_>,
    ) -> Result<bool, DiffError> {
        match same::by_metadata(&before.metadata, metadata) {
            same::Guess::Different => Ok(false),
            same::Guess::Same => Ok(true),
            same::Guess::Unsure(check) => {
                let Some((dir, name)) = self.base.open(before, &entry.at.path)? else {
                    return Ok(false);
                };
                same::by_content((&dir, &name), (entry.dir, entry.name), check)
                    .map_err(|error| entry.at.fail(error))
            }
        }
    }

    fn tell(
        &mut self,
        kind: ChangeKind,
        metadata: Option<Metadata>,
        entry: Entry<'_>,
    ) -> Result<(), E> {
        let path = Path::new(OsStr::from_bytes(&entry.at.path));
        let Entry { dir, name, .. } = entry;
        (self.on_change)(&Change {
            kind,
            path,
            metadata,
            dir,
            name,
        })
    }
}

/// Whether unchanged names of an inode are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Linked {
    Ignored,
    Told,
}
