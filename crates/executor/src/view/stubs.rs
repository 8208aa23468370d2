//! Files and directories that exist only to be mounted on, and their removal.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Timespec, Timestamps};

use super::root::Root;
use crate::StubRemoval;

/// What did not exist before the mounts of a step were made.
#[derive(Debug, Clone)]
pub(crate) struct Stubs {
    missing: Vec<PathBuf>,
    parents: Vec<Parent>,
}

/// A directory in which a stub was made, as it was before and right after.
#[derive(Debug, Clone)]
struct Parent {
    path: PathBuf,
    before: Timestamps,
    after: Option<Timespec>,
}

impl Stubs {
    /// Notes which of `targets` are missing in `root`, before anything is mounted.
    pub(crate) fn note(root: &Root, targets: &[&Path], removal: StubRemoval) -> Stubs {
        let mut stubs = Stubs {
            missing: Vec::new(),
            parents: Vec::new(),
        };
        for target in targets {
            let Ok(mut path) = root.resolve(target) else {
                continue;
            };
            while path.parent().is_some() && is_missing(root, &path) {
                if !stubs.missing.contains(&path) {
                    stubs.missing.push(path.clone());
                }
                if removal == StubRemoval::Leaf || !path.pop() {
                    break;
                }
            }
        }
        for path in &stubs.missing {
            // Times of the nearest directory that exists: the one that making the stub changes.
            let Some(parent) = path
                .ancestors()
                .skip(1)
                .find(|parent| !is_missing(root, parent))
            else {
                continue;
            };
            if stubs.parents.iter().any(|known| known.path == parent) {
                continue;
            }
            if let Ok((_, before)) = root.times(parent) {
                stubs.parents.push(Parent {
                    path: parent.to_owned(),
                    before,
                    after: None,
                });
            }
        }
        stubs
    }

    /// Notes the times that making the stubs has left, so that later changes can be told from ours.
    pub(crate) fn made(&mut self, root: &Root) {
        for parent in &mut self.parents {
            parent.after = root
                .times(&parent.path)
                .ok()
                .map(|(_, times)| times.last_modification);
        }
    }

    /// Removes what is still empty. A directory that nothing but the stubs has changed gets back the
    /// times it had before, so that it does not become part of the step's layer.
    pub(crate) fn remove(self, root: &Root) {
        for path in &self.missing {
            if let Err(error) = remove(root, path) {
                tracing::warn!(stub = %path.display(), %error, "mount stub stays");
            }
        }
        for parent in &self.parents {
            let Ok((dir, times)) = root.times(&parent.path) else {
                continue;
            };
            let _ = rustix::fs::futimens(
                &dir,
                &if untouched(parent, &times) {
                    parent.before.clone()
                } else {
                    times
                },
            );
        }
    }
}

/// Whether the directory's modification time is the one our stubs left or their removal makes;
/// the removal itself keeps times, so anything else was the step.
fn untouched(parent: &Parent, now: &Timestamps) -> bool {
    parent.after == Some(now.last_modification)
}

fn is_missing(root: &Root, path: &Path) -> bool {
    match root.stat(path) {
        Ok(_) => false,
        Err(error) => {
            path.parent().is_some()
                && matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                )
        }
    }
}

/// Removes an empty file or directory, keeping the times of the directory it is in.
fn remove(root: &Root, path: &Path) -> io::Result<()> {
    let Ok(stat) = root.stat(path) else {
        return Ok(());
    };
    let (parent, name) = root.parent(path)?;
    let flags = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => AtFlags::REMOVEDIR,
        _ if stat.st_size != 0 => return Ok(()),
        _ => AtFlags::empty(),
    };
    let (dir, before) = root.times(path.parent().unwrap_or(Path::new("/")))?;
    match rustix::fs::unlinkat(parent, name, flags) {
        Ok(()) => Ok(rustix::fs::futimens(dir, &before)?),
        // Somebody has put something there: it is no stub any more.
        Err(rustix::io::Errno::NOTEMPTY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
