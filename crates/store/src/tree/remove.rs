//! Removing paths, and finding what a wildcard stands for.

use std::ffi::CStr;
use std::io;

use super::dir::{Dir, MAX_DEPTH};
use super::error::TreeError;
use super::metadata::Follow;
use super::root::Root;
use crate::path;

/// Removes a path and all below it.
#[derive(Clone, Debug)]
pub struct Remove {
    /// What.
    pub path: String,
    /// A missing path is no error.
    pub allow_not_found: bool,
    /// `path` may be a pattern.
    pub allow_wildcard: bool,
}

impl Root {
    /// Removes a path.
    ///
    /// # Errors
    /// It is missing and must not be, or cannot be removed.
    pub fn remove(&self, request: &Remove) -> Result<(), TreeError> {
        if !request.allow_wildcard {
            return self.remove_one(
                path::absolute(&request.path).as_bytes(),
                request.allow_not_found,
            );
        }
        for found in self.expand(&path::clean_kept(&request.path), Follow::No)? {
            self.remove_one(&found, request.allow_not_found)?;
        }
        Ok(())
    }

    fn remove_one(&self, target: &[u8], allow_not_found: bool) -> Result<(), TreeError> {
        let (dir, base) = path::split(target);
        let mut resolved = self.resolve(dir, Follow::Yes)?;
        if base.is_empty() {
            return Err(TreeError::IsRoot {
                op: "rm",
                path: String::from_utf8_lossy(target).into_owned(),
            });
        }
        if !resolved.ends_with(b"/") {
            resolved.push(b'/');
        }
        resolved.extend_from_slice(base);
        let fail = |error: io::Error| TreeError::os("unlinkat", &resolved, error);
        let (parent, name) = match self.open_parent(&resolved) {
            Ok(Some(found)) => found,
            Ok(None) => {
                return Err(TreeError::IsRoot {
                    op: "rm",
                    path: String::from_utf8_lossy(target).into_owned(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && allow_not_found => {
                return Ok(());
            }
            Err(error) => return Err(TreeError::os("stat", &resolved, error)),
        };
        if !allow_not_found && parent.find(&name).map_err(fail)?.is_none() {
            return Err(TreeError::os("stat", &resolved, rustix::io::Errno::NOENT));
        }
        parent.remove_all(&name).map_err(fail)
    }

    /// Paths that match `pattern`, in walking order. What is below a directory that matches is not looked at. A pattern
    /// without special characters stands for itself, whether it exists or not.
    pub(super) fn expand(&self, pattern: &str, follow: Follow) -> Result<Vec<Vec<u8>>, TreeError> {
        let (base, wild) = path::split_wildcards(pattern);
        if wild.is_empty() {
            return Ok(vec![base.into_bytes()]);
        }
        let resolved = self.resolve(base.as_bytes(), follow)?;
        let dir = match self.open_dir(&resolved) {
            // Nothing is in a file.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(Vec::new()),
            Err(error) => return Err(TreeError::os("lstat", &resolved, error)),
            Ok(dir) => dir,
        };
        let mut expansion = Expansion {
            pattern: &wild,
            prefix: &resolved,
            found: Vec::new(),
        };
        expansion.walk(&dir, b"", 0)?;
        Ok(expansion.found)
    }
}

struct Expansion<'a> {
    pattern: &'a str,
    prefix: &'a [u8],
    found: Vec<Vec<u8>>,
}

impl Expansion<'_> {
    fn walk(&mut self, dir: &Dir, below: &[u8], depth: usize) -> Result<(), TreeError> {
        if depth > MAX_DEPTH {
            return Err(TreeError::TooDeep(
                String::from_utf8_lossy(below).into_owned(),
            ));
        }
        // A pattern never matches deeper than it has components.
        let may_match_deeper = depth < self.pattern.matches('/').count();
        let fail = |error: io::Error| TreeError::os("open", path::join(self.prefix, below), error);
        for name in dir.names().map_err(fail)? {
            let relative = path::join(below, name.as_bytes());
            // A malformed pattern matches nothing, as upstream.
            if path::matches(self.pattern, &String::from_utf8_lossy(&relative)).unwrap_or(false) {
                self.found.push(path::join(self.prefix, &relative));
            } else if may_match_deeper && is_dir(dir, &name) {
                let child = dir
                    .open_dir(&name)
                    .map_err(|error| TreeError::os("open", &relative, error))?;
                self.walk(&child, &relative, depth + 1)?;
            }
        }
        Ok(())
    }
}

fn is_dir(dir: &Dir, name: &CStr) -> bool {
    dir.metadata(name).is_ok_and(|metadata| metadata.is_dir())
}
