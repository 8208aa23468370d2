//! Building what a step sees, in the mount namespace that the calling thread has for it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Uid;
use rustix::pty::OpenptFlags;

use crate::run::Settings;
use crate::run::aside::Aside;
use crate::run::rootfs::{Rootfs, describe, failed};
use crate::run::step::kernel;
use crate::view::devices;
use crate::view::root::{Node, Root, proc_path};
use crate::view::user::{self, Identity};
use crate::view::{mounts, system};
use crate::{Access, DeviceKind, ExecError, ExecRequest, Mount, MountPoint, Network, RootAccess};

/// A step's root filesystem with everything mounted in it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) root: Root,
    pub(super) identity: Identity,
}

/// Mounts everything. `aside` is set as soon as there is something to be put right afterwards.
pub(super) fn assemble(
    settings: &Settings,
    request: &ExecRequest,
    network: &Network,
    cgroups: &[(String, PathBuf)],
    aside: &mut Option<Aside>,
) -> Result<View, ExecError> {
    let rootfs = Rootfs::mount(settings, request, aside)?;
    let mounted = Assembly {
        settings,
        rootfs: &rootfs,
        request,
        network,
        cgroups,
    }
    .mount_all();
    let Rootfs { root, identity, .. } = rootfs;
    if let Some(aside) = aside {
        aside.stubs.made(&root);
    }
    mounted?;
    if request.root_access == RootAccess::ReadOnly {
        mounts::finish(&Mount::bind("/"), Access::ReadOnly, root.fd())
            .map_err(|error| failed(Path::new("/"), "read-only", error))?;
    }
    Ok(View { root, identity })
}

/// Makes the view the calling thread's root directory. What was the root before is still mounted, out of
/// reach of paths: inside a user namespace the kernel lets /proc be mounted only while there is one.
pub(super) fn enter_root(view: &View) -> Result<OwnedFd, ExecError> {
    let enter = || -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let before = rustix::fs::openat(CWD, "/", flags, Mode::empty())?;
        rustix::process::fchdir(view.root.fd())?;
        rustix::process::pivot_root(".", ".")?;
        rustix::process::chdir("/")?;
        Ok(before)
    };
    enter().map_err(|error| kernel("enter the root filesystem", error))
}

/// What a further process of a step sees, whose root directory the calling thread has.
pub(super) fn joined(request: &ExecRequest) -> Result<View, ExecError> {
    let root = Root::open(Path::new("/"));
    let root = root.map_err(|error| kernel("open the root filesystem", error))?;
    let identity = user::resolve(&root, &request.user, &request.additional_gids)?;
    Ok(View { root, identity })
}

/// Opens a terminal of the step's own devpts and makes it the console: our end, and the three descriptors for
/// the process.
pub(super) fn terminal(view: &View) -> Result<(OwnedFd, [OwnedFd; 3]), ExecError> {
    let (master, streams) = further_terminal(view)?;
    let console = || -> io::Result<()> {
        let (console, _) = view.root.ensure(Path::new("/dev/console"), Node::File)?;
        rustix::mount::mount_bind(proc_path(&streams[0]), proc_path(&console))?;
        Ok(())
    };
    console().map_err(|error| kernel("open a terminal", error))?;
    Ok((master, streams))
}

/// Opens a terminal of the step's own devpts.
pub(super) fn further_terminal(view: &View) -> Result<(OwnedFd, [OwnedFd; 3]), ExecError> {
    let open = || -> io::Result<(OwnedFd, [OwnedFd; 3])> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK;
        let master = view.root.open_at(Path::new("/dev/pts/ptmx"), flags)?;
        rustix::pty::unlockpt(&master)?;
        let peer = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, peer)?;
        rustix::fs::fchown(&slave, Some(Uid::from_raw(view.identity.uid)), None)?;
        Ok((master, [slave.try_clone()?, slave.try_clone()?, slave]))
    };
    open().map_err(|error| kernel("open a terminal", error))
}

struct Assembly<'a> {
    settings: &'a Settings,
    rootfs: &'a Rootfs,
    request: &'a ExecRequest,
    network: &'a Network,
    cgroups: &'a [(String, PathBuf)],
}

impl Assembly<'_> {
    fn mount_all(&self) -> Result<(), ExecError> {
        for (index, point) in self.rootfs.mounts.iter().enumerate() {
            self.mount_point(point, index)?;
            if point.target == Path::new("/dev") && !self.is_own(point) {
                self.fill_dev()
                    .map_err(|error| kernel("make device nodes", error))?;
            }
        }
        Ok(())
    }

    /// Whether a mount comes from the request.
    fn is_own(&self, point: &MountPoint) -> bool {
        let targets = self.request.mounts.iter().map(|mount| &mount.target);
        let mut targets = targets.chain(self.request.files.iter().map(|file| &file.target));
        targets.any(|target| system::normal(target) == point.target)
    }

    fn mount_point(&self, point: &MountPoint, index: usize) -> Result<(), ExecError> {
        let fail = |error| failed(&point.target, &describe(point), error);
        if self.is_own(point) {
            if point.target.starts_with("/proc") {
                let cause = io::Error::other("it cannot be mounted because it is inside /proc");
                return Err(fail(cause));
            }
        } else {
            match point.sources.first().map(|mount| mount.kind.as_str()) {
                // Only the child, inside its process namespace, can mount this one.
                Some("proc") => {
                    return self
                        .ordinary_directory(&point.target)
                        .map(drop)
                        .map_err(fail);
                }
                Some(system::CGROUP) => return self.mount_cgroups(point).map_err(fail),
                Some("sysfs") => return self.mount_sysfs(point).map_err(fail),
                _ => {}
            }
        }
        for (mount, node) in self.rootfs.sources(point, index)? {
            self.mount_source(point, &mount, node).map_err(fail)?;
        }
        Ok(())
    }

    fn mount_source(&self, point: &MountPoint, mount: &Mount, node: Node) -> io::Result<()> {
        let (place, _) = self.rootfs.root.ensure(&point.target, node)?;
        match mounts::mount_on(mount, place.as_fd()) {
            // Group 5 need not exist in a user namespace.
            Err(error) if mount.kind == "devpts" && error.kind() == io::ErrorKind::InvalidInput => {
                let mut without = mount.clone();
                without.options.retain(|option| !option.starts_with("gid="));
                mounts::mount_on(&without, place.as_fd())?;
            }
            other => other?,
        }
        self.finish(mount, point.access, &point.target)
    }

    fn finish(&self, mount: &Mount, access: Access, target: &Path) -> io::Result<()> {
        if !mounts::needs_finish(mount, access) {
            return Ok(());
        }
        mounts::finish(mount, access, self.rootfs.root.locate(target)?.as_fd())
    }

    /// A directory for one of the kernel's filesystems, which a link must not lead elsewhere.
    fn ordinary_directory(&self, target: &Path) -> io::Result<OwnedFd> {
        let (place, _) = self.rootfs.root.ensure(target, Node::Directory)?;
        let stat = self.rootfs.root.stat(target)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Ok(place);
        }
        Err(io::Error::other(format!(
            "{} must be an ordinary directory in the root filesystem",
            target.display()
        )))
    }

    fn mount_sysfs(&self, point: &MountPoint) -> io::Result<()> {
        let place = self.ordinary_directory(&point.target)?;
        for mount in &point.sources {
            match mounts::mount_on(mount, place.as_fd()) {
                // A user namespace may mount the sysfs of its own network namespaces only.
                Err(error)
                    if error.kind() == io::ErrorKind::PermissionDenied
                        && !self.network.is_ours() =>
                {
                    let options = [mount.options.as_slice(), &["rbind".to_owned()]].concat();
                    let host = Mount {
                        options,
                        ..Mount::bind("/sys")
                    };
                    mounts::mount_on(&host, place.as_fd())?;
                    self.finish(&host, point.access, &point.target)?;
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// On v2 the child mounts its cgroup itself. On v1 each hierarchy shows what the step is in.
    fn mount_cgroups(&self, point: &MountPoint) -> io::Result<()> {
        if self.cgroups.is_empty() {
            return Ok(());
        }
        let Ok(place) = self.rootfs.root.locate(&point.target) else {
            return Ok(());
        };
        mounts::mount_on(
            &Mount::tmpfs(["nosuid", "noexec", "nodev", "mode=755"]),
            place.as_fd(),
        )?;
        let options = point
            .sources
            .first()
            .map(|mount| mount.options.clone())
            .unwrap_or_default();
        for (name, dir) in self.cgroups {
            let target = point.target.join(name);
            let (place, _) = self.rootfs.root.ensure(&target, Node::Directory)?;
            let bind = Mount {
                options: options.clone(),
                ..Mount::bind(dir)
            };
            mounts::mount_on(&bind, place.as_fd())?;
            self.finish(&bind, Access::ReadWrite, &target)?;
        }
        self.finish(
            &Mount {
                options,
                ..Mount::bind("")
            },
            Access::ReadWrite,
            &point.target,
        )
    }

    fn fill_dev(&self) -> io::Result<()> {
        let request = self.request;
        let user = &self.rootfs.identity;
        for device in devices::nodes(request.security, &request.devices, user) {
            self.make_node(&device)?;
        }
        let dev = self.rootfs.root.locate(Path::new("/dev"))?;
        for (path, target) in devices::LINKS {
            rustix::fs::symlinkat(target, &dev, path.trim_start_matches("/dev/"))?;
        }
        Ok(())
    }

    fn make_node(&self, device: &devices::Node) -> io::Result<()> {
        let path = Path::new(&device.path);
        let root = &self.rootfs.root;
        root.ensure(path.parent().unwrap_or(Path::new("/")), Node::Directory)?;
        let (dir, name) = root.parent(path)?;
        let kind = match device.kind {
            DeviceKind::Character => FileType::CharacterDevice,
            DeviceKind::Block => FileType::BlockDevice,
        };
        if !self.settings.in_user_namespace {
            let mode = Mode::from_raw_mode(device.mode);
            let number = rustix::fs::makedev(device.major, device.minor);
            match rustix::fs::mknodat(&dir, name, kind, mode, number) {
                Ok(()) => return own(&dir, name, device),
                Err(Errno::EXIST) => return Ok(()),
                Err(Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Where nobody may make devices, the host's are good enough, if it has them.
        if device.host.exists() {
            let (place, _) = root.ensure(path, Node::File)?;
            rustix::mount::mount_bind(&device.host, proc_path(&place))?;
        }
        Ok(())
    }
}

/// Gives a device node its owner; who makes it owns it already.
fn own(dir: impl AsFd, name: &OsStr, device: &devices::Node) -> io::Result<()> {
    if (device.uid, device.gid) == (0, 0) {
        return Ok(());
    }
    let (uid, gid) = user::owner(device.uid, device.gid);
    rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}
