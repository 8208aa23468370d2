//! Walking a directory with several threads.

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Statx, StatxFlags};
use rustix::io::Errno;

use super::crew::{self, Tasks};
use super::entry::{Entry, Kind, Stamp, walk_order};
use super::filter::{Filter, FilterState, Verdict};
use super::root::WalkRoot;

const BUFFER: usize = 32 << 10;

/// A walk that failed, and where.
#[derive(Debug)]
pub struct ScanError {
    /// What was tried.
    pub action: &'static str,
    /// Where, from the root of the walk.
    pub path: Vec<u8>,
    /// Why it failed.
    pub error: Errno,
}

/// A directory to be read.
struct Task {
    /// The open directory it is in, and its name there; the root for an empty path.
    parent: Arc<OwnedFd>,
    path: Vec<u8>,
    name_at: usize,
    state: FilterState,
    verdict: Verdict,
}

struct Found<D> {
    kept: Vec<(Entry, D)>,
    /// Directories that are wanted only if something below them is.
    passed: Vec<(Entry, D)>,
}

impl<D> Default for Found<D> {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            passed: Vec::new(),
        }
    }
}

/// How to walk.
#[derive(Debug)]
pub struct Walk<'a> {
    /// What is wanted.
    pub filter: &'a Filter,
    /// Device and inode of a directory to pass by: our own store, if it lies in there.
    pub passed_by: Option<(u64, u64)>,
    /// Set from elsewhere to end the walk early.
    pub stop: &'a AtomicBool,
}

/// Everything in `root` that the filter keeps, with the directories above it, in the
/// order of a walk.
///
/// # Errors
/// A directory cannot be read, or the walk was stopped.
pub fn scan(root: &WalkRoot, walk: &Walk<'_>) -> Result<Vec<Entry>, ScanError> {
    let found = scan_with(root, walk, |_, _, _| Ok(()))?;
    Ok(found.into_iter().map(|(entry, ())| entry).collect())
}

/// The same, with what `detail` has to say about each entry, given the open directory it is in,
/// its name there, and what the kernel told. What is gone by then is left out.
///
/// # Errors
/// A directory cannot be read, the walk was stopped, or `detail` failed.
pub fn scan_with<D: Send>(
    root: &WalkRoot,
    walk: &Walk<'_>,
    detail: impl Fn(BorrowedFd<'_>, &CStr, &Statx) -> Result<D, Errno> + Sync,
) -> Result<Vec<(Entry, D)>, ScanError> {
    let top = root.directory(b"").map_err(|error| ScanError {
        action: "open",
        path: Vec::new(),
        error,
    })?;
    let first = Task {
        parent: Arc::new(top),
        path: Vec::new(),
        name_at: 0,
        state: FilterState::default(),
        verdict: Verdict::Keep,
    };
    let found = crew::run(vec![first], |task, found: &mut Found<D>, tasks| {
        if walk.stop.load(Ordering::Relaxed) {
            return Err(ScanError {
                action: "read",
                path: task.path,
                error: Errno::CANCELED,
            });
        }
        read_directory(task, walk, &detail, (found, tasks))
    })?;
    let mut entries = Vec::with_capacity(found.iter().map(|part| part.kept.len()).sum());
    let mut passed = Vec::new();
    for part in found {
        entries.extend(part.kept);
        passed.extend(part.passed);
    }
    entries.sort_unstable_by(|(a, _), (b, _)| walk_order(&a.path, &b.path));
    add_ancestors(&mut entries, passed);
    Ok(entries)
}

fn read_directory<D>(
    task: Task,
    walk: &Walk<'_>,
    detail: &impl Fn(BorrowedFd<'_>, &CStr, &Statx) -> Result<D, Errno>,
    (found, tasks): (&mut Found<D>, &Tasks<Task>),
) -> Result<(), ScanError> {
    let failed = |action, path: &[u8], error| ScanError {
        action,
        path: path.to_owned(),
        error,
    };
    let directory = match open(&task) {
        Ok(directory) => Arc::new(directory),
        // It went while we walked, or is closed to us and not wanted itself.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        Err(Errno::ACCESS) if task.verdict == Verdict::Pass => return Ok(()),
        Err(error) => return Err(failed("open directory", &task.path, error)),
    };
    let mut buffer = Vec::with_capacity(BUFFER);
    let mut listing = RawDir::new(&*directory, buffer.spare_capacity_mut());
    while let Some(item) = listing.next() {
        let item = item.map_err(|error| failed("read directory", &task.path, error))?;
        let name = item.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let mut path = Vec::with_capacity(task.path.len() + 1 + name.count_bytes());
        path.extend_from_slice(&task.path);
        if !path.is_empty() {
            path.push(b'/');
        }
        let name_at = path.len();
        path.extend_from_slice(name.to_bytes());
        let (is_directory, mut stat) = match item.file_type() {
            FileType::Unknown => match look(&directory, name) {
                Ok(Some(stat)) => (Stamp::of(&stat).kind == Kind::Directory, Some(stat)),
                Ok(None) => continue,
                Err(error) => return Err(failed("stat", &path, error)),
            },
            known => (known == FileType::Directory, None),
        };
        let (verdict, state) = match is_directory {
            true => walk.filter.directory(&path, &task.state),
            false => (walk.filter.file(&path, &task.state), FilterState::default()),
        };
        if verdict == Verdict::Skip {
            continue;
        }
        if stat.is_none() {
            stat = look(&directory, name).map_err(|error| failed("stat", &path, error))?;
        }
        let Some(stat) = stat else { continue };
        let stamp = Stamp::of(&stat);
        if is_directory && walk.passed_by == Some((stamp.device, stamp.inode)) {
            continue;
        }
        let detail = match detail(directory.as_fd(), name, &stat) {
            Ok(detail) => detail,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(failed("read", &path, error)),
        };
        let entry = Entry {
            path: path.clone(),
            stamp,
        };
        match verdict {
            Verdict::Keep => found.kept.push((entry, detail)),
            _ => found.passed.push((entry, detail)),
        }
        if is_directory && stamp.kind == Kind::Directory {
            tasks.push(Task {
                parent: Arc::clone(&directory),
                path,
                name_at,
                state,
                verdict,
            });
        }
    }
    Ok(())
}

fn open(task: &Task) -> Result<OwnedFd, Errno> {
    let name: &[u8] = if task.path.is_empty() {
        b"."
    } else {
        &task.path[task.name_at..]
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&*task.parent, name, flags, Mode::empty())
}

/// What a name stands for; `None` if it is gone.
fn look(directory: &OwnedFd, name: &CStr) -> Result<Option<Statx>, Errno> {
    match rustix::fs::statx(
        directory,
        name,
        AtFlags::SYMLINK_NOFOLLOW,
        StatxFlags::BASIC_STATS,
    ) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Adds the directories of `passed` that have any of the sorted `entries` below them.
fn add_ancestors<D>(entries: &mut Vec<(Entry, D)>, passed: Vec<(Entry, D)>) {
    if passed.is_empty() {
        return;
    }
    let has_below = |directory: &Entry| {
        let next =
            entries.partition_point(|(entry, _)| walk_order(&entry.path, &directory.path).is_lt());
        entries.get(next).is_some_and(|(entry, _)| {
            entry
                .path
                .strip_prefix(directory.path.as_slice())
                .is_some_and(|rest| rest.first() == Some(&b'/'))
        })
    };
    let mut wanted: Vec<(Entry, D)> = passed
        .into_iter()
        .filter(|(directory, _)| has_below(directory))
        .collect();
    entries.append(&mut wanted);
    entries.sort_by(|(a, _), (b, _)| walk_order(&a.path, &b.path));
}
