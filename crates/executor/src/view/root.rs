//! A root filesystem as a directory that no path leads out of.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

/// Symbolic links in one path, as the kernel's own limit.
const LINKS: usize = 40;

/// A directory in which absolute paths and links start, held open.
#[derive(Debug)]
pub(crate) struct Root {
    dir: OwnedFd,
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    Directory,
    File,
}

impl Root {
    /// Opens `path` of the host.
    pub(crate) fn open(path: &Path) -> io::Result<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Root {
            dir: rustix::fs::openat(CWD, path, flags, Mode::empty())?,
        })
    }

    /// A mount of its own of what is mounted on `path` of the host, without what is mounted inside it.
    pub(crate) fn detached(path: &Path) -> io::Result<Root> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        Ok(Root {
            dir: rustix::mount::open_tree(CWD, path, flags)?,
        })
    }

    /// Opens `path` inside for use as a place (`O_PATH`), following links inside.
    pub(crate) fn locate(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open_at(path, OFlags::PATH)
    }

    /// Opens `path` inside with the given flags, following links inside.
    pub(crate) fn open_at(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        // An empty path is no path to the kernel.
        let path = if path.as_os_str().is_empty() {
            Path::new("/")
        } else {
            path
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(
                &self.dir,
                path,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                resolve,
            ) {
                // The kernel saw a rename elsewhere while it looked at `..`.
                Err(Errno::AGAIN) => {}
                other => return Ok(other?),
            }
        }
    }

    /// Reads a regular file of at most `limit` bytes.
    pub(crate) fn read_to_string(&self, path: &Path, limit: u64) -> io::Result<String> {
        let file = File::from(self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} is not a regular file", path.display()),
            ));
        }
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{:?} exceeds {limit} bytes", path.display()),
            ));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Makes `path` with everything that leads to it, also through dangling links, and opens it.
    /// Returns what was made, outermost first, as paths without links.
    pub(crate) fn ensure(&self, path: &Path, node: Node) -> io::Result<(OwnedFd, Vec<PathBuf>)> {
        match self.locate(path) {
            Ok(found) => return Ok((found, Vec::new())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut made = Vec::new();
        let mut walk = Walk::new(path);
        while let Some(name) = walk.next() {
            let last = walk.rest.is_empty();
            let child = walk.here.join(&name);
            let parent = self.locate(&walk.here)?;
            let stat = match rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => {
                    make(
                        parent.as_fd(),
                        &name,
                        if last { node } else { Node::Directory },
                    )?;
                    made.push(child.clone());
                    rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW)?
                }
                Err(error) => return Err(error.into()),
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(&parent, &name, Vec::new())?;
                    walk.follow(&PathBuf::from(OsString::from_vec(target.into_bytes())))?;
                }
                FileType::Directory => walk.here = child,
                _ if last => walk.here = child,
                _ => return Err(Errno::NOTDIR.into()),
            }
        }
        Ok((self.locate(&walk.here)?, made))
    }

    /// Where `path` leads, links resolved as far as there is something; what is missing stays as written.
    pub(crate) fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let mut walk = Walk::new(path);
        while let Some(name) = walk.next() {
            let child = walk.here.join(&name);
            let link = self
                .locate(&walk.here)
                .ok()
                .and_then(|parent| rustix::fs::readlinkat(parent, &name, Vec::new()).ok());
            match link {
                Some(target) => {
                    walk.follow(&PathBuf::from(OsString::from_vec(target.into_bytes())))?
                }
                None => walk.here = child,
            }
        }
        Ok(walk.here)
    }

    /// What is at `path` itself, a path without links.
    pub(crate) fn stat(&self, path: &Path) -> io::Result<Stat> {
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// The directory that `path` is in, opened, and its name there.
    pub(crate) fn parent<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        Ok((
            self.open_at(parent, OFlags::PATH | OFlags::DIRECTORY)?,
            name,
        ))
    }

    /// Opens the directory `path` and looks at its times.
    pub(crate) fn times(&self, path: &Path) -> io::Result<(OwnedFd, Timestamps)> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let dir = self
            .open_at(path, flags | OFlags::NOATIME)
            .or_else(|_| self.open_at(path, flags))?;
        let times = times_of(&rustix::fs::fstat(&dir)?);
        Ok((dir, times))
    }

    /// The directory itself.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// A path of the host that leads to what `fd` stands for, for calls that take no descriptors.
pub(crate) fn proc_path(fd: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// When something was read and changed last.
pub(crate) fn times_of(stat: &Stat) -> Timestamps {
    let nanoseconds = |value: u64| i64::try_from(value).unwrap_or(0);
    Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: nanoseconds(stat.st_atime_nsec),
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: nanoseconds(stat.st_mtime_nsec),
        },
    }
}

/// What kind of thing an opened place is.
pub(crate) fn node(fd: impl AsFd) -> io::Result<Node> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            Node::Directory
        } else {
            Node::File
        },
    )
}

fn make(parent: BorrowedFd<'_>, name: &OsStr, node: Node) -> io::Result<()> {
    let mode = Mode::from_raw_mode(0o755);
    match node {
        Node::Directory => rustix::fs::mkdirat(parent, name, mode)?,
        Node::File => {
            let flags =
                OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(parent, name, flags, mode)?;
        }
    }
    Ok(())
}

/// A walk along a path, one name at a time, that can be sent elsewhere by a link.
struct Walk {
    here: PathBuf,
    rest: VecDeque<OsString>,
    links: usize,
}

impl Walk {
    fn new(path: &Path) -> Walk {
        let mut walk = Walk {
            here: PathBuf::from("/"),
            rest: VecDeque::new(),
            links: 0,
        };
        walk.prepend(path);
        walk
    }

    fn prepend(&mut self, path: &Path) {
        for component in path.components().rev() {
            match component {
                Component::Normal(name) => self.rest.push_front(name.to_owned()),
                Component::ParentDir => self.rest.push_front(OsString::from("..")),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
    }

    fn follow(&mut self, target: &Path) -> io::Result<()> {
        self.links += 1;
        if self.links > LINKS {
            return Err(Errno::LOOP.into());
        }
        if target.is_absolute() {
            self.here = PathBuf::from("/");
        }
        self.prepend(target);
        Ok(())
    }

    /// The next name that is none of `..`, which never leads above the root.
    fn next(&mut self) -> Option<OsString> {
        loop {
            let name = self.rest.pop_front()?;
            if name.as_bytes() != b".." {
                return Some(name);
            }
            self.here.pop();
        }
    }
}
