//! Overlay mounts: their options, and how they are performed on new and old kernels.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    mount, open_tree, unmount,
};

use super::{Access, Mount, MountError};
use crate::apply::Whiteouts;
use crate::disk::AtPath;

/// What overlayfs stacks at most (OVL_MAX_STACK).
pub(crate) const MAX_LAYERS: usize = 500;

/// The option that names the layers, topmost first.
const LOWER: &str = "lowerdir=";

/// mount(2) takes one page of data.
const MAX_DATA: usize = 4095;

/// fsconfig(2) takes strings up to this length, with the final zero.
const MAX_VALUE: usize = 255;

/// Whose extended attributes overlayfs marks deletions with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OverlayFlavor {
    /// `trusted.overlay.*`, for root of the host.
    Trusted,
    /// `user.overlay.*`, inside a user namespace.
    User,
}

/// The writable top of an overlay.
#[derive(Debug)]
pub(crate) struct WritableLayer<'a> {
    /// Where changes land.
    pub(crate) upper: &'a Path,
    /// An empty directory on the same file system, used by one mount only.
    pub(crate) work: &'a Path,
}

impl OverlayFlavor {
    /// What this process needs.
    pub(crate) fn detect() -> OverlayFlavor {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let mut fields = map.split_whitespace();
        let is_whole = (fields.next(), fields.next(), fields.next())
            == (Some("0"), Some("0"), Some("4294967295"));
        if map.is_empty() || is_whole {
            OverlayFlavor::Trusted
        } else {
            OverlayFlavor::User
        }
    }

    /// The marks of deletions that it understands.
    pub(crate) fn whiteouts(self) -> Whiteouts {
        match self {
            OverlayFlavor::Trusted => Whiteouts::OverlayTrusted,
            OverlayFlavor::User => Whiteouts::OverlayUser,
        }
    }

    /// The mount of `layers` (topmost first) and perhaps a writable one on top.
    pub(crate) fn mount(self, layers: &[PathBuf], top: Option<WritableLayer<'_>>) -> Mount {
        let access = if top.is_some() {
            Access::Write
        } else {
            Access::Read
        };
        let names: Vec<_> = layers.iter().map(|layer| layer.to_string_lossy()).collect();
        let mut options = vec![
            access.option().to_owned(),
            format!("{LOWER}{}", names.join(":")),
        ];
        if let Some(WritableLayer { upper, work }) = top {
            options.push(format!("upperdir={}", upper.display()));
            options.push(format!("workdir={}", work.display()));
            // Nothing in the upper directory needs to survive a crash before it is committed, see `Store::sync`.
            options.push("volatile".to_owned());
        }
        // The upper directory must hold whole files and whole directories, and mean the same on top of other
        // layers: no index of hard links, no references to lower files, no renames by reference. Without these
        // features the kernel also makes new directories plain, not opaque "as an optimisation".
        options.push("index=off".to_owned());
        match self {
            OverlayFlavor::Trusted => {
                options.extend(["metacopy=off", "redirect_dir=nofollow"].map(str::to_owned));
            }
            // Implies the other two, and refuses to be told.
            OverlayFlavor::User => options.push("userxattr".to_owned()),
        }
        Mount {
            kind: "overlay".to_owned(),
            source: "overlay".into(),
            options,
        }
    }
}

/// Mounts an overlay outside of every mount namespace; closing the descriptor unmounts it.
pub(super) fn mount_detached(mount: &Mount, scratch: &Path) -> Result<OwnedFd, MountError> {
    let layers = mount
        .options
        .iter()
        .flat_map(|option| lower_layers(option))
        .count();
    if layers > MAX_LAYERS {
        return Err(MountError::TooManyLayers {
            layers,
            limit: MAX_LAYERS,
        });
    }
    match mount_by_fsconfig(mount) {
        // Kernels before 6.7 know no `lowerdir+`, those before 5.2 no fsopen.
        Err(Failure {
            step,
            error: Errno::INVAL,
            ..
        }) if step.starts_with(LOWER) => mount_by_data(mount, scratch),
        Err(Failure {
            error: Errno::NOSYS,
            ..
        }) => mount_by_data(mount, scratch),
        result => result.map_err(|failure| failure.explain(mount)),
    }
}

/// A step that failed.
struct Failure {
    step: String,
    error: Errno,
    kernel_message: String,
}

fn mount_by_fsconfig(mount: &Mount) -> Result<OwnedFd, Failure> {
    let plain = |step: &str| {
        let step = step.to_owned();
        move |error| Failure {
            step,
            error,
            kernel_message: String::new(),
        }
    };
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(plain("fsopen"))?;
    let told = |step: &str, error| {
        let mut message = [0; 512];
        let length = rustix::io::read(&context, &mut message).unwrap_or(0);
        let kernel_message = String::from_utf8_lossy(&message[..length])
            .trim()
            .to_owned();
        Failure {
            step: step.to_owned(),
            error,
            kernel_message,
        }
    };
    for option in &mount.options {
        configure(&context, option).map_err(|error| told(option, error))?;
    }
    fsconfig_create(&context).map_err(|error| told("create the overlay", error))?;
    let attributes = if mount.is_read_only() {
        MountAttrFlags::MOUNT_ATTR_RDONLY
    } else {
        MountAttrFlags::empty()
    };
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(plain("fsmount"))
}

/// The layers that an option names; none, if it is another option.
fn lower_layers(option: &str) -> impl Iterator<Item = &str> {
    option
        .strip_prefix(LOWER)
        .into_iter()
        .flat_map(|layers| layers.split(':'))
}

fn configure(context: &OwnedFd, option: &str) -> Result<(), Errno> {
    match option.split_once('=') {
        None => fsconfig_set_flag(context, option),
        Some(("lowerdir", layers)) => layers
            .split(':')
            .try_for_each(|layer| configure_value(context, "lowerdir+", layer)),
        Some((key, value)) => configure_value(context, key, value),
    }
}

fn configure_value(context: &OwnedFd, key: &str, value: &str) -> Result<(), Errno> {
    if value.len() <= MAX_VALUE {
        return fsconfig_set_string(context, key, value);
    }
    let directory = openat(CWD, value, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    fsconfig_set_fd(context, key, &directory)
}

/// The classic call. Its data is limited to a page, so layers are named by their descriptors' short paths; the
/// mount appears in `scratch` for a moment and is taken away from there.
fn mount_by_data(request: &Mount, scratch: &Path) -> Result<OwnedFd, MountError> {
    let refused = |step: &str, error: Errno| {
        Failure {
            step: step.to_owned(),
            error,
            kernel_message: String::new(),
        }
        .explain(request)
    };
    let mut directories = Vec::new();
    let mut short = |path: &str| {
        let directory = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| refused(path, error))?;
        let name = format!("/proc/self/fd/{}", directory.as_raw_fd());
        directories.push(directory);
        Ok::<_, MountError>(name)
    };
    let mut data = Vec::new();
    let mut layers = 0;
    for option in &request.options {
        match option.split_once('=') {
            Some(("lowerdir", _)) => {
                let names = lower_layers(option)
                    .map(&mut short)
                    .collect::<Result<Vec<_>, _>>()?;
                layers = names.len();
                data.push(format!("{LOWER}{}", names.join(":")));
            }
            Some((key @ ("upperdir" | "workdir"), path)) => {
                data.push(format!("{key}={}", short(path)?))
            }
            _ if option == "ro" || option == "rw" => {}
            _ => data.push(option.clone()),
        }
    }
    let data = data.join(",");
    if data.len() > MAX_DATA {
        let limit = layers * MAX_DATA / data.len();
        return Err(MountError::TooManyLayers { layers, limit });
    }
    let target = tempfile::tempdir_in(scratch).at("create a directory in", scratch)?;
    let flags = if request.is_read_only() {
        MountFlags::RDONLY
    } else {
        MountFlags::empty()
    };
    let data = std::ffi::CString::new(data).map_err(|_| refused("mount", Errno::INVAL))?;
    mount(
        "overlay",
        target.path(),
        "overlay",
        flags,
        Some(data.as_c_str()),
    )
    .map_err(|error| refused("mount", error))?;
    let tree = open_tree(
        CWD,
        target.path(),
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    );
    unmount(target.path(), UnmountFlags::DETACH).map_err(|error| refused("unmount", error))?;
    tree.map_err(|error| refused("open_tree", error))
}

impl Failure {
    fn explain(self, mount: &Mount) -> MountError {
        let what = describe(mount);
        if self.error == Errno::PERM || self.error == Errno::ACCESS {
            return MountError::Unprivileged { what };
        }
        let step = match self.kernel_message.as_str() {
            "" => self.step,
            message => format!("{}: kernel says {message:?}", self.step),
        };
        MountError::Refused {
            what,
            step,
            source: io::Error::from(self.error),
        }
    }
}

fn describe(mount: &Mount) -> String {
    let find = |key: &str| {
        mount
            .options
            .iter()
            .find_map(|option| option.strip_prefix(key))
    };
    let topmost = find(LOWER).and_then(|layers| layers.split(':').next());
    match find("upperdir=").or(topmost) {
        Some(path) => format!("the overlay of {path}"),
        None => "an overlay".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Old kernels are not at hand: their way is tried on this one.
    #[test]
    fn the_classic_call_does_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let layers: Vec<PathBuf> = (0..100)
            .map(|number| make(&format!("layer{number}")))
            .collect();
        fs::write(layers[99].join("file"), "bottom").unwrap();
        let (upper, work, scratch) = (make("upper"), make("work"), make("scratch"));
        let top = WritableLayer {
            upper: &upper,
            work: &work,
        };
        let mount = OverlayFlavor::Trusted.mount(&layers, Some(top));
        let tree = mount_by_data(&mount, &scratch).unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", tree.as_raw_fd()));
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "bottom");
        fs::write(path.join("new"), "new").unwrap();
        assert_eq!(fs::read_to_string(upper.join("new")).unwrap(), "new");
        assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);

        let many: Vec<PathBuf> = layers.iter().cycle().take(400).cloned().collect();
        let error =
            mount_by_data(&OverlayFlavor::Trusted.mount(&many, None), &scratch).unwrap_err();
        assert!(
            matches!(
                error,
                MountError::TooManyLayers {
                    layers: 400,
                    limit: 100..400
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn what_the_kernel_says_is_passed_on() {
        let mount = OverlayFlavor::Trusted.mount(&["/nowhere".into(), "/else".into()], None);
        let error = mount_detached(&mount, Path::new("/tmp"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nowhere"), "{error}");
    }
}
