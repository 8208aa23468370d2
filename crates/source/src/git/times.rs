//! Times of what is checked out.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

/// Gives everything below a directory, and itself, one time. Directories come last: what is changed in them changes
/// their times.
pub(super) fn set_all(root: &Path, seconds: i64) -> io::Result<()> {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    let set = |path: &Path| utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
    let mut directories: Vec<PathBuf> = vec![root.to_owned()];
    let mut next = 0;
    while let Some(directory) = directories.get(next).cloned() {
        next += 1;
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => directories.push(entry.path()),
                false => set(&entry.path())?,
            }
        }
    }
    for directory in directories.iter().rev() {
        set(directory)?;
    }
    Ok(())
}
