//! Modes of what is checked out.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Bits of those who may write.
const WRITE: u32 = 0o222;
/// Bits of those who may execute.
const EXECUTE: u32 = 0o111;

/// Lets everybody write to all files below a directory but programs.
pub(super) fn open_all(root: &Path) -> io::Result<()> {
    let mut directories: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let found = entry.metadata()?;
            let mode = found.permissions().mode();
            if found.is_dir() {
                directories.push(entry.path());
            } else if found.is_file() && mode & EXECUTE == 0 {
                fs::set_permissions(entry.path(), Permissions::from_mode(mode | WRITE))?;
            }
        }
    }
    Ok(())
}
