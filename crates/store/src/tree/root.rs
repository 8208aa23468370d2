//! Opening a root and finding things in it.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::dir::{Dir, Name};
use super::error::TreeError;
use super::metadata::{FileKind, Follow, Metadata};
use crate::path;

/// Symlinks followed while one path is resolved.
const MAX_LINKS: usize = 255;

/// A directory opened as a root. What lies outside cannot be reached through it.
#[derive(Debug)]
pub struct Root {
    dir: Dir,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name.
    pub name: PathBuf,
    /// What it is.
    pub metadata: Metadata,
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

impl Root {
    /// Opens a directory as a root.
    ///
    /// # Errors
    /// It does not exist, is no directory, or may not be opened.
    pub fn open(path: &Path) -> Result<Self, TreeError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        fs::open(path, flags, Mode::empty())
            .map(Self::from)
            .map_err(|error| TreeError::os("open", path.as_os_str().as_bytes(), error))
    }

    /// What is at `path`.
    ///
    /// # Errors
    /// Nothing is there, or it may not be looked at.
    pub fn metadata(&self, path: &str, follow: Follow) -> Result<Metadata, TreeError> {
        let fd = self.open_path(path.as_bytes(), follow)?;
        fs::fstat(&fd)
            .map(|stat| Metadata::of(&stat))
            .map_err(|error| TreeError::os("lstat", path, error))
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// Nothing is there, or it is no regular file.
    pub fn open_file(&self, path: &str) -> Result<File, TreeError> {
        let fail = |error: io::Error| TreeError::os("open", path, error);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file: File = self
            .open_at(path.as_bytes(), flags, ResolveFlags::empty())
            .map_err(fail)?
            .into();
        match Metadata::of(&fs::fstat(&file).map_err(|error| fail(error.into()))?).kind {
            FileKind::File => Ok(file),
            FileKind::Directory => Err(fail(Errno::ISDIR.into())),
            _ => Err(fail(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ))),
        }
    }

    /// A whole file of at most `limit` bytes.
    ///
    /// # Errors
    /// It cannot be opened or read, or is larger.
    pub fn read_file(&self, path: &str, limit: u64) -> Result<Vec<u8>, TreeError> {
        let mut data = Vec::new();
        let file = self.open_file(path)?;
        file.take(limit.saturating_add(1))
            .read_to_end(&mut data)
            .map_err(|error| TreeError::os("read", path, error))?;
        if data.len() as u64 > limit {
            return Err(TreeError::TooLarge {
                path: path.to_owned(),
                limit,
            });
        }
        Ok(data)
    }

    /// Where the symlink at `path` points.
    ///
    /// # Errors
    /// Nothing is there, or it is no symlink.
    pub fn read_link(&self, path: &str) -> Result<PathBuf, TreeError> {
        let fd = self.open_path(path.as_bytes(), Follow::No)?;
        let target = fs::readlinkat(&fd, c"", Vec::new())
            .map_err(|error| TreeError::os("readlink", path, not_a_link(error)))?;
        Ok(Path::new(std::ffi::OsStr::from_bytes(target.as_bytes())).to_owned())
    }

    /// Extended attributes of what is at `path`, as far as their names are text.
    ///
    /// # Errors
    /// Nothing is there, or it may not be looked at.
    pub fn xattrs(&self, path: &str, follow: Follow) -> Result<Vec<(String, Vec<u8>)>, TreeError> {
        let fail = |error: io::Error| TreeError::os("listxattr", path, error);
        let resolved = self.resolve(path.as_bytes(), follow)?;
        let attributes = match self.open_parent(&resolved).map_err(fail)? {
            Some((dir, name)) => dir.xattrs(&name),
            None => self.dir.xattrs(c"."),
        };
        let attributes = attributes.map_err(fail)?.into_iter();
        Ok(attributes
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value)))
            .collect())
    }

    /// Entries of a directory in byte order.
    ///
    /// # Errors
    /// Nothing is there, or it is no directory.
    pub fn read_dir(&self, path: &str) -> Result<Vec<DirEntry>, TreeError> {
        let fail = |error: io::Error| TreeError::os("open", path, error);
        let dir = self.open_dir(path.as_bytes()).map_err(fail)?;
        let names = dir.names().map_err(fail)?;
        let entry = |name: Name| {
            let metadata = dir
                .metadata(&name)
                .map_err(|error| TreeError::os("lstat", name.as_bytes(), error))?;
            Ok(DirEntry {
                name: Path::new(std::ffi::OsStr::from_bytes(name.as_bytes())).to_owned(),
                metadata,
            })
        };
        names.into_iter().map(entry).collect()
    }

    /// The path with its symlinks replaced by what they say, as far as it exists; what does not exist stays as it is.
    /// The result is absolute and clean.
    pub(crate) fn resolve(&self, path: &[u8], follow: Follow) -> Result<Vec<u8>, TreeError> {
        let plain = ResolveFlags::NO_SYMLINKS;
        if let Ok(fd) = self.open_at(
            path,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            plain,
        ) && (follow == Follow::No || !is_symlink(&fd))
        {
            return Ok(path::clean(&[b"/", path].concat()));
        }
        self.resolve_links(path, follow)
    }

    fn resolve_links(&self, path: &[u8], follow: Follow) -> Result<Vec<u8>, TreeError> {
        let mut resolved: Vec<Vec<u8>> = Vec::new();
        let mut remaining: Vec<Vec<u8>> = Vec::new();
        push_reversed(&mut remaining, path);
        let mut links = 0;
        while let Some(part) = remaining.pop() {
            if part == b".." {
                resolved.pop();
                continue;
            }
            resolved.push(part);
            let last = remaining.is_empty();
            if last && follow == Follow::No {
                break;
            }
            if let Some(target) = self.link_target(&resolved.join(&b'/'))? {
                links += 1;
                if links > MAX_LINKS {
                    return Err(TreeError::TooManyLinks(
                        String::from_utf8_lossy(path).into_owned(),
                    ));
                }
                resolved.pop();
                if target.starts_with(b"/") {
                    resolved.clear();
                }
                push_reversed(&mut remaining, &target);
            }
        }
        Ok([b"/", resolved.join(&b'/').as_slice()].concat())
    }

    /// Where a path without symlinks before its last component points, or `None` if it is no symlink or missing.
    fn link_target(&self, path: &[u8]) -> Result<Option<Vec<u8>>, TreeError> {
        match self.open_at(
            path,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            ResolveFlags::empty(),
        ) {
            Ok(fd) if is_symlink(&fd) => fs::readlinkat(&fd, c"", Vec::new())
                .map(|target| Some(target.into_bytes()))
                .map_err(|error| TreeError::os("readlink", absolute(path), error)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(TreeError::os("lstat", absolute(path), error)),
        }
    }

    /// Opens the directory that a resolved path is in, and its name there; `None` for the root itself. A path without
    /// a slash in front is taken from the root, too.
    pub(crate) fn open_parent(&self, resolved: &[u8]) -> io::Result<Option<(Dir, Name)>> {
        let (parent, name) = match resolved.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&resolved[..slash], &resolved[slash + 1..]),
            None => (&resolved[..0], resolved),
        };
        if name.is_empty() {
            return Ok(None);
        }
        Ok(Some((self.open_dir(parent)?, CString::new(name)?)))
    }

    /// Opens a directory, following symlinks.
    pub(crate) fn open_dir(&self, path: &[u8]) -> io::Result<Dir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        self.open_at(path, flags, ResolveFlags::empty())
            .map(Dir::from)
    }

    /// What a resolved path is, or `None` if it does not exist.
    pub(crate) fn find(&self, path: &[u8]) -> Result<Option<Metadata>, TreeError> {
        let fail = |error: io::Error| TreeError::os("lstat", path, error);
        match self.open_at(
            path,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            ResolveFlags::empty(),
        ) {
            Ok(fd) => Ok(Some(Metadata::of(
                &fs::fstat(&fd).map_err(|error| fail(error.into()))?,
            ))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fail(error)),
        }
    }

    fn open_path(&self, path: &[u8], follow: Follow) -> Result<OwnedFd, TreeError> {
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        flags.set(OFlags::NOFOLLOW, follow == Follow::No);
        self.open_at(path, flags, ResolveFlags::empty())
            .map_err(|error| TreeError::os("lstat", path, error))
    }

    /// The one call that turns a path into a file.
    fn open_at(&self, path: &[u8], flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { b"/" } else { path };
        let resolve = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match fs::openat2(&self.dir, path, flags, Mode::empty(), resolve) {
                // The tree was renamed in while the kernel looked at `..`; it asks to be tried again.
                Err(Errno::AGAIN) => {}
                result => return Ok(result?),
            }
        }
    }
}

impl From<OwnedFd> for Root {
    fn from(fd: OwnedFd) -> Self {
        Self { dir: fd.into() }
    }
}

fn push_reversed(remaining: &mut Vec<Vec<u8>>, path: &[u8]) {
    let parts = path
        .split(|&byte| byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".");
    remaining.extend(parts.rev().map(<[u8]>::to_vec));
}

fn is_symlink(fd: &OwnedFd) -> bool {
    fs::fstat(fd).is_ok_and(|stat| Metadata::of(&stat).kind == FileKind::Symlink)
}

fn absolute(path: &[u8]) -> Vec<u8> {
    path::clean(&[b"/", path].concat())
}

/// `readlinkat` with an empty path calls everything that is no link missing.
fn not_a_link(error: Errno) -> Errno {
    if error == Errno::NOENT {
        Errno::INVAL
    } else {
        error
    }
}
