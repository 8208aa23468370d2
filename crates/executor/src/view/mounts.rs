//! Performing mounts. Everything here happens in a mount namespace of the calling thread's own.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
};

use super::options::{self, Bind, Flags, Options};
use super::root::proc_path;
use crate::{Access, Mount};

/// The kernel takes mount data of less than a page.
const DATA_LIMIT: usize = 4095;

/// Mounts `mount` on the place that `target` is open on. `target` then still is the place below the mount.
pub(crate) fn mount_on(mount: &Mount, target: BorrowedFd<'_>) -> io::Result<()> {
    let options = options::parse(&mount.options);
    let place = proc_path(target);
    match options
        .bind
        .or((mount.kind == "bind").then_some(Bind::Recursive))
    {
        Some(Bind::Recursive) => rustix::mount::mount_bind_recursive(&mount.source, &place)?,
        Some(Bind::Single) => rustix::mount::mount_bind(&mount.source, &place)?,
        None => fresh(mount, &options, &place)?,
    }
    Ok(())
}

/// Whether a mount needs [`finish`].
pub(crate) fn needs_finish(mount: &Mount, access: Access) -> bool {
    let options = options::parse(&mount.options);
    pending(mount, &options, access).any() || !options.propagation.is_empty()
}

/// What a mount still needs once it stands: flags that a bind mount cannot be given at once, propagation,
/// and read-only where the step may not write. `place` must lead to the mount itself.
pub(crate) fn finish(mount: &Mount, access: Access, place: BorrowedFd<'_>) -> io::Result<()> {
    let options = options::parse(&mount.options);
    let flags = pending(mount, &options, access);
    if flags.any() {
        remount(place, flags)?;
    }
    for propagation in options.propagation {
        rustix::mount::mount_change(proc_path(place), propagation)?;
    }
    Ok(())
}

/// Flags that the first mount call could not set.
fn pending(mount: &Mount, options: &Options, access: Access) -> Flags {
    let is_bind = options.bind.is_some() || mount.kind == "bind";
    let mut flags = if is_bind {
        options.flags
    } else {
        Flags::default()
    };
    if access == Access::ReadOnly {
        flags.set |= MountFlags::RDONLY;
        flags.cleared -= MountFlags::RDONLY;
    }
    flags
}

/// Changes the flags of the mount that `place` is the root of. Flags it has are kept unless cleared: inside
/// a user namespace the kernel insists on those the mount came with.
fn remount(place: BorrowedFd<'_>, flags: Flags) -> io::Result<()> {
    let has = rustix::fs::fstatvfs(place)?.f_flag;
    let known = [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let mut kept = MountFlags::empty();
    for (_, flag) in known.iter().filter(|(seen, _)| has.contains(*seen)) {
        kept |= *flag;
    }
    let wanted = (kept - flags.cleared) | flags.set;
    let remount =
        |flags| rustix::mount::mount_remount(proc_path(place), MountFlags::BIND | flags, "");
    match remount(wanted) {
        // A flag that may not be cleared here stays: safer than asked for, never less.
        Err(Errno::PERM) if !(kept & flags.cleared).is_empty() => Ok(remount(kept | flags.set)?),
        other => Ok(other?),
    }
}

fn fresh(mount: &Mount, options: &Options, place: &Path) -> io::Result<()> {
    let data = options.data.join(",");
    if data.len() <= DATA_LIMIT {
        let data = CString::new(data)?;
        rustix::mount::mount(
            &mount.source,
            place,
            mount.kind.as_str(),
            options.flags.set,
            data.as_c_str(),
        )?;
        return Ok(());
    }
    long_overlay(mount, options, place)
}

/// An overlay of more layers than fit into a page: the new mount API takes them one by one. Paths are
/// given relative to what they have in common, because it takes at most 255 bytes for each.
fn long_overlay(mount: &Mount, options: &Options, place: &Path) -> io::Result<()> {
    let entries: Vec<(&str, &str)> = options
        .data
        .iter()
        .map(|option| option.split_once('=').unwrap_or((option.as_str(), "")))
        .collect();
    let is_path = |key: &str| matches!(key, "lowerdir" | "upperdir" | "workdir");
    let paths = entries
        .iter()
        .filter(|(key, _)| is_path(key))
        .flat_map(|(_, value)| split_layers(value));
    let base = common_directory(paths);
    let relative = |path: &str| match path.strip_prefix(base.to_string_lossy().as_ref()) {
        Some(rest) if !rest.trim_start_matches('/').is_empty() => {
            rest.trim_start_matches('/').to_owned()
        }
        _ => path.to_owned(),
    };

    let place = place.to_owned();
    let back = rustix::process::getcwd(Vec::new())?;
    rustix::process::chdir(&base)?;
    let mounted = (|| {
        let context = fsopen(mount.kind.as_str(), FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(context.as_fd(), "source", &mount.source)?;
        for (key, value) in entries {
            match key {
                "lowerdir" => {
                    for layer in split_layers(value) {
                        fsconfig_set_string(context.as_fd(), "lowerdir+", relative(layer))?;
                    }
                }
                _ if is_path(key) => fsconfig_set_string(context.as_fd(), key, relative(value))?,
                _ if value.is_empty() => fsconfig_set_flag(context.as_fd(), key)?,
                _ => fsconfig_set_string(context.as_fd(), key, value)?,
            }
        }
        fsconfig_create(context.as_fd())?;
        let mut attributes = MountAttrFlags::empty();
        attributes.set(
            MountAttrFlags::MOUNT_ATTR_RDONLY,
            options.flags.set.contains(MountFlags::RDONLY),
        );
        let mounted = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        move_mount(
            mounted.as_fd(),
            "",
            CWD,
            &place,
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS,
        )?;
        Ok::<(), io::Error>(())
    })();
    rustix::process::chdir(&back)?;
    mounted.map_err(|error| {
        let layers = options.data.iter().filter(|option| option.starts_with("lowerdir")).flat_map(|o| split_layers(o)).count();
        io::Error::new(error.kind(), format!("{error} ({layers} layers do not fit into one mount call; Linux 6.5 or newer takes more)"))
    })
}

/// `a:b:c`, where `\:` belongs to a path.
fn split_layers(value: &str) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    value.split(move |c: char| {
        let separator = c == ':' && !escaped;
        escaped = c == '\\' && !escaped;
        separator
    })
}

fn common_directory<'a>(mut paths: impl Iterator<Item = &'a str>) -> PathBuf {
    let mut common = paths
        .next()
        .and_then(|first| Path::new(first).parent())
        .unwrap_or(Path::new("/"))
        .to_owned();
    for path in paths {
        while !Path::new(path).starts_with(&common) {
            if !common.pop() {
                return PathBuf::from("/");
            }
        }
    }
    common
}
