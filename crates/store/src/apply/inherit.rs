//! Attributes of directories that a layer implies without saying what they are like.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::ApplyError;
use crate::tree::{Dir, HIDDEN_XATTRS, Metadata, Root};

/// Gives implied directories of an unpacked layer the attributes they have in the layers below (topmost first). Those
/// that no layer below has keep their defaults.
///
/// # Errors
/// A directory cannot be opened, or the kernel refuses.
pub fn inherit_directories(
    dest: &Path,
    implied: &[PathBuf],
    parents: &[PathBuf],
) -> Result<(), ApplyError> {
    if implied.is_empty() {
        return Ok(());
    }
    let dest = Root::open(dest)?;
    let parents = parents
        .iter()
        .map(|parent| Root::open(parent))
        .collect::<Result<Vec<_>, _>>()?;
    for path in implied {
        inherit(&dest, path.as_os_str(), &parents).map_err(|source| ApplyError::Member {
            path: path.clone(),
            source,
        })?;
    }
    Ok(())
}

fn inherit(dest: &Root, path: &OsStr, parents: &[Root]) -> io::Result<()> {
    let path = [b"/", path.as_bytes()].concat();
    for parent in parents {
        let Some((dir, name)) = found(parent.open_parent(&path))?.flatten() else {
            continue;
        };
        let Some(metadata) = dir.find(&name)? else {
            continue;
        };
        // Anything but a directory means that the layer replaced it.
        if metadata.is_dir()
            && let Some((to, to_name)) = dest.open_parent(&path)?
        {
            return copy_attributes((&dir, &name, &metadata), (&to, &to_name));
        }
        return Ok(());
    }
    Ok(())
}

fn copy_attributes(
    (dir, name, metadata): (&Dir, &CString, &Metadata),
    (to, to_name): (&Dir, &CString),
) -> io::Result<()> {
    to.set_owner(to_name, metadata.owner)?;
    to.set_mode(to_name, metadata.mode)?;
    for (key, value) in dir.xattrs(name)? {
        let ours = HIDDEN_XATTRS
            .iter()
            .any(|hidden| key.as_bytes().starts_with(hidden));
        if !ours && !key.as_bytes().starts_with(b"trusted.") {
            to.set_xattr(to_name, &key, &value)?;
        }
    }
    to.set_times(to_name, metadata.atime, metadata.mtime)
}

/// `None` for a path that a layer does not have.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
