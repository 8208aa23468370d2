//! Entries of one tree repeated in another: hard links where possible, else exact copies.

use std::ffi::CString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lgetxattr, llistxattr,
    lsetxattr, mknodat, utimensat,
};
use rustix::io::Errno;

use crate::disk::{AtPath, DiskError};
use crate::mount::OverlayFlavor;

/// Overlayfs's own attributes: they describe the tree they lie in and must not be repeated in another.
const OVERLAY_PREFIXES: [&str; 2] = ["trusted.overlay.", "user.overlay."];

/// Makes `target` the same directory as `source`, but empty. An existing directory is changed to be like it.
pub(super) fn repeat_dir(source: &Path, target: &Path) -> Result<(), DiskError> {
    match fs::create_dir(target) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(DiskError::new("create directory", target, error));
        }
        _ => {}
    }
    let metadata = fs::symlink_metadata(source).at("look up", source)?;
    copy_attributes(source, &metadata, target)
}

/// Sets the times of a directory, once nothing more is written into it.
pub(super) fn repeat_times(source: &Path, target: &Path) -> Result<(), DiskError> {
    let metadata = fs::symlink_metadata(source).at("look up", source)?;
    set_times(&metadata, target)
}

/// Makes `target` the same file, link, device, pipe or socket as `source`. `real` is the same entry outside of any
/// mount: it is linked to if it can be.
pub(super) fn repeat_file(
    source: &Path,
    real: Option<&Path>,
    target: &Path,
) -> Result<(), DiskError> {
    let metadata = fs::symlink_metadata(source).at("look up", source)?;
    let kind = metadata.file_type();
    // Pipes and sockets could connect builds with each other if they shared one.
    if let Some(real) = real
        && !kind.is_fifo()
        && !kind.is_socket()
    {
        match rustix::fs::linkat(CWD, real, CWD, target, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => return Ok(()),
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::NOENT) => {}
            Err(error) => return Err(DiskError::new("link", target, error)),
        }
    }
    if kind.is_symlink() {
        let destination = fs::read_link(source).at("read link", source)?;
        std::os::unix::fs::symlink(destination, target).at("create link", target)?;
    } else if kind.is_file() {
        copy_content(source, target)?;
    } else {
        let kind = FileType::from_raw_mode(metadata.mode());
        mknodat(
            CWD,
            target,
            kind,
            Mode::from_raw_mode(0o600),
            metadata.rdev(),
        )
        .at("create device", target)?;
    }
    copy_attributes(source, &metadata, target)?;
    set_times(&metadata, target)
}

/// Copies a whole tree into an existing directory. Nothing is shared with the source.
pub(crate) fn copy_tree(source: &Path, target: &Path) -> Result<(), DiskError> {
    repeat_dir(source, target)?;
    for name in names(source)? {
        let (from, to) = (source.join(&name), target.join(&name));
        if fs::symlink_metadata(&from).at("look up", &from)?.is_dir() {
            copy_tree(&from, &to)?;
        } else {
            repeat_file(&from, None, &to)?;
        }
    }
    repeat_times(source, target)
}

/// Marks `target` as deleted for whoever looks through an overlay, also where nothing lies below its directory.
pub(super) fn whiteout(target: &Path, flavor: OverlayFlavor) -> Result<(), DiskError> {
    mknodat(CWD, target, FileType::CharacterDevice, Mode::empty(), 0)
        .at("create whiteout", target)?;
    let Some(directory) = target.parent() else {
        return Ok(());
    };
    let origin = flavor.whiteouts().origin();
    lsetxattr(directory, origin, b"", XattrFlags::empty()).at("set attributes of", directory)
}

fn copy_content(source: &Path, target: &Path) -> Result<(), DiskError> {
    let mut from = File::open(source).at("open", source)?;
    let mut to = File::options()
        .write(true)
        .create_new(true)
        .open(target)
        .at("create", target)?;
    // Uses copy_file_range where the file system offers it.
    io::copy(&mut from, &mut to).at("write", target)?;
    Ok(())
}

/// Owner before mode and attributes: changing it clears set-uid bits and capabilities.
fn copy_attributes(source: &Path, metadata: &Metadata, target: &Path) -> Result<(), DiskError> {
    lchown(target, Some(metadata.uid()), Some(metadata.gid())).at("change owner of", target)?;
    if !metadata.is_symlink() {
        let mode = fs::Permissions::from_mode(metadata.mode() & 0o7777);
        fs::set_permissions(target, mode).at("change mode of", target)?;
    }
    for name in attribute_names(source)? {
        if OVERLAY_PREFIXES
            .iter()
            .any(|prefix| name.as_bytes().starts_with(prefix.as_bytes()))
        {
            continue;
        }
        let value = attribute(source, &name)?;
        match lsetxattr(target, &name, &value, XattrFlags::empty()) {
            // Not every file system and user can keep every attribute.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::ACCESS) => {}
            result => result.at("set attributes of", target)?,
        }
    }
    Ok(())
}

fn attribute_names(path: &Path) -> Result<Vec<CString>, DiskError> {
    let mut names = vec![0; 64 * 1024];
    let length = match llistxattr(path, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => 0,
        result => result.at("list attributes of", path)?,
    };
    let names = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| CString::new(name).ok()).collect())
}

fn attribute(path: &Path, name: &CString) -> Result<Vec<u8>, DiskError> {
    let mut value = vec![0; 64 * 1024];
    let length = lgetxattr(path, name, &mut value[..]).at("read attributes of", path)?;
    value.truncate(length);
    Ok(value)
}

/// The value of an attribute, or `None` if there is none.
pub(super) fn find_attribute(path: &Path, name: &str) -> Result<Option<Vec<u8>>, DiskError> {
    let mut value = vec![0; 64 * 1024];
    match lgetxattr(path, name, &mut value[..]) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(DiskError::new("read attributes of", path, error)),
    }
}

fn set_times(metadata: &Metadata, target: &Path) -> Result<(), DiskError> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: metadata.atime(),
            tv_nsec: metadata.atime_nsec(),
        },
        last_modification: Timespec {
            tv_sec: metadata.mtime(),
            tv_nsec: metadata.mtime_nsec(),
        },
    };
    utimensat(CWD, target, &times, AtFlags::SYMLINK_NOFOLLOW).at("set times of", target)
}

/// The names in a directory, sorted; none if there is no such directory.
pub(super) fn names(directory: &Path) -> Result<Vec<std::ffi::OsString>, DiskError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(DiskError::new("list", directory, error)),
    };
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<Vec<_>>>()
        .at("list", directory)?;
    names.sort_unstable();
    Ok(names)
}
