//! Making something in the place of something else, and removing it.

use std::ffi::{CStr, CString};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, Mode, OFlags, ResolveFlags, chmodat, openat, openat2, renameat, unlinkat,
};
use rustix::io::Errno;

/// What was being done, and why it failed.
pub type Failure = (&'static str, io::Error);

/// A name that nobody else uses, for something that will be moved to its place.
pub fn temporary_name() -> String {
    let number = RandomState::new().build_hasher().finish();
    format!(".kiln-{number:016x}")
}

/// Makes something under another name and moves it to where something else is.
///
/// # Errors
/// Making it failed, or what is there cannot be replaced.
pub fn replace(
    directory: BorrowedFd<'_>,
    name: &CStr,
    make: impl FnOnce(&CString) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let temporary = CString::new(temporary_name()).map_err(|error| ("create", error.into()))?;
    let moved = |()| {
        let moving = renameat(directory, &temporary, directory, name);
        let moving = match moving {
            Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => remove(directory, name)
                .and_then(|()| renameat(directory, &temporary, directory, name)),
            other => other,
        };
        moving.map_err(|error| ("write", error.into()))
    };
    let outcome = make(&temporary).and_then(moved);
    if outcome.is_err() {
        unlinkat(directory, &temporary, AtFlags::empty()).ok();
    }
    outcome
}

/// Removes one entry with all that is in it. Symbolic links are removed, never followed.
///
/// # Errors
/// Something cannot be removed.
pub fn remove(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            openat(parent, name, flags, Mode::empty())?
        }
        other => other?,
    };
    for entry in names(directory.as_fd())? {
        remove(directory.as_fd(), &entry)?;
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// The names in a directory.
///
/// # Errors
/// It cannot be read.
pub fn names(directory: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

/// A directory below, reached without any symbolic link; the root for an empty path.
///
/// # Errors
/// It is missing, no directory, or a link is on the way.
pub fn open_directory(root: impl AsFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path: &[u8] = if path.is_empty() { b"." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(root, path, flags, Mode::empty(), resolve)
}

/// The directory a path is in, reached without any symbolic link, and the name there.
///
/// # Errors
/// It is missing, or a link is on the way.
pub fn open_parent(root: impl AsFd, path: &[u8]) -> io::Result<(OwnedFd, CString)> {
    let (parent, name) = match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[][..], path),
    };
    let name = CString::new(name)?;
    Ok((open_directory(root, parent)?, name))
}
