//! Paths to be followed: the symbolic links on them bring their targets along.

use std::collections::BTreeSet;

use crate::pattern::{Pattern, clean};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;

use super::filter::without_nested;
use super::root::WalkRoot;

/// Links lead to links, but as in the kernel not endlessly.
const MAX_LINKS: usize = 40;
const MAX_PATHS: usize = 100_000;

/// The include patterns that paths to follow stand for: the paths themselves, and every
/// link on the way with what it leads to. `None` if that is everything.
///
/// # Errors
/// A directory or link on the way cannot be read.
pub fn follow(root: &WalkRoot, paths: &[String]) -> Result<Option<Vec<String>>, Errno> {
    let mut found = Followed {
        root,
        paths: BTreeSet::new(),
        seen: BTreeSet::new(),
    };
    for path in paths {
        found.add(path)?;
    }
    Ok(without_nested(found.paths.into_iter().collect()))
}

struct Followed<'a> {
    root: &'a WalkRoot,
    paths: BTreeSet<String>,
    /// Links with what was to follow behind them.
    seen: BTreeSet<(String, String)>,
}

impl Followed<'_> {
    /// Walks along a path and, where it meets a link, goes on at its targets.
    fn add(&mut self, path: &str) -> Result<(), Errno> {
        let mut waiting = vec![(path.to_owned(), 0)];
        while let Some((path, links)) = waiting.pop() {
            let relative = clean(&format!("/{path}"));
            let mut rest = relative.trim_start_matches('/');
            let mut current = String::new();
            loop {
                let (first, tail) = rest.split_once('/').unwrap_or((rest, ""));
                join(&mut current, first);
                rest = tail;
                let targets = self.targets(&current)?;
                if targets.is_empty() && !rest.is_empty() {
                    continue;
                }
                self.paths.insert(if current.is_empty() {
                    ".".to_owned()
                } else {
                    current.clone()
                });
                if links < MAX_LINKS
                    && self.seen.len() < MAX_PATHS
                    && self.seen.insert((current, rest.to_owned()))
                {
                    waiting.extend(
                        targets
                            .iter()
                            .map(|target| (format!("{target}/{rest}"), links + 1)),
                    );
                }
                break;
            }
        }
        Ok(())
    }

    /// Where the links lead that a path is, or that its last element's wildcards match.
    fn targets(&self, path: &str) -> Result<Vec<String>, Errno> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        if !contains_wildcards(name) {
            return Ok(self.target(path)?.into_iter().collect());
        }
        let Some(pattern) =
            literal_exception(name).and_then(|text| Pattern::new(&text).ok().flatten())
        else {
            return Ok(Vec::new());
        };
        let mut names: Vec<String> = missing_is_empty(self.names(directory))?;
        names.retain(|name| pattern.matches(name));
        names.sort();
        let mut targets = Vec::new();
        for name in names {
            let mut path = directory.to_owned();
            join(&mut path, &name);
            targets.extend(self.target(&path)?);
        }
        Ok(targets)
    }

    /// Where a link leads, as a path from the root; `None` if it is none.
    fn target(&self, path: &str) -> Result<Option<String>, Errno> {
        if path.is_empty() {
            return Ok(None);
        }
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let link = match self.open(directory, OFlags::PATH) {
            Ok(parent) => match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                    rustix::fs::readlinkat(&parent, name, Vec::new())
                }
                Ok(_) => return Ok(None),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        let link = match link {
            Ok(link) => link.to_string_lossy().into_owned(),
            Err(error) if is_missing(error) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Both forms stay inside: the root is "/" to them.
        Ok(Some(if link.starts_with('/') {
            clean(&link)
        } else {
            clean(&format!("/{directory}/{link}"))
        }))
    }

    fn names(&self, directory: &str) -> Result<Vec<String>, Errno> {
        let directory = self.open(directory, OFlags::RDONLY)?;
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, directory: &str, access: OFlags) -> Result<rustix::fd::OwnedFd, Errno> {
        let path = if directory.is_empty() { "." } else { directory };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = access | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat2(self.root.fd(), path, flags, Mode::empty(), resolve)
    }
}

fn join(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('/');
    }
    path.push_str(name);
}

fn missing_is_empty(names: Result<Vec<String>, Errno>) -> Result<Vec<String>, Errno> {
    match names {
        Err(error) if is_missing(error) => Ok(Vec::new()),
        other => other,
    }
}

/// A link that appears on the way after all counts as missing, too.
fn is_missing(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::INVAL
    )
}

fn contains_wildcards(name: &str) -> bool {
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// A name that begins with `!` is no exception here.
fn literal_exception(name: &str) -> Option<String> {
    Some(match name.starts_with('!') {
        true => format!("\\{name}"),
        false => name.to_owned(),
    })
}
