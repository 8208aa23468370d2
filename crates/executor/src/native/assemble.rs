//! Building what a step sees, in the mount namespace that the calling thread has for it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::{Gid, Uid};
use rustix::pty::OpenptFlags;

use super::Settings;
use super::step::kernel;
use crate::view::devices::{self, Kind};
use crate::view::root::{Node, Root, node, proc_path};
use crate::view::stubs::Stubs;
use crate::view::user::Identity;
use crate::view::{hosts, mounts, resolv, system, user};
use crate::{
    Access, ExecError, ExecRequest, InvalidRequest, Mount, MountPoint, Network, RootAccess,
    Security,
};

/// A step's root filesystem with everything mounted in it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) root: Root,
    pub(super) identity: Identity,
    /// Where the root filesystem is mounted in the thread's namespace.
    path: PathBuf,
}

/// Mounts everything. `stubs` is set as soon as there is something to be removed afterwards.
pub(super) fn assemble(
    settings: &Settings,
    request: &ExecRequest,
    network: Network,
    cgroups: &[(String, PathBuf)],
    stubs: &mut Option<(Stubs, Root)>,
) -> Result<View, ExecError> {
    // Everything of ours in here is gone with the namespace.
    let scratch = &settings.mount_point;
    rustix::mount::mount(
        "kiln",
        scratch,
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        c"mode=755",
    )
    .map_err(|error| kernel(&format!("mount a tmpfs on {}", scratch.display()), error))?;
    let path = scratch.join("rootfs");
    let files = Files::write(scratch, settings, request)?;
    fs::create_dir(&path).map_err(|error| kernel("make a mount point", error))?;
    mount_rootfs(settings, request, &path)?;
    let root = Root::open(&path).map_err(|error| kernel("open the root filesystem", error))?;

    let mut noted = note_stubs(&root, request);
    let identity = user::resolve(&root, &request.user, &request.additional_gids)?;
    make_cwd(&root, request, &identity)?;
    let view = View {
        root,
        identity,
        path,
    };
    let mounted = Assembly {
        settings,
        view: &view,
        request,
        network,
        cgroups,
        staged: scratch,
    }
    .mount_all(&files);
    noted.made(&view.root);
    // A second mount of the root filesystem alone: it stays writable, and it outlives the namespace.
    let aside =
        Root::detached(&view.path).map_err(|error| kernel("open the root filesystem", error))?;
    *stubs = Some((noted, aside));
    mounted?;
    if request.root_access == RootAccess::ReadOnly {
        let rootfs = Mount {
            kind: "bind".to_owned(),
            source: PathBuf::new(),
            options: Vec::new(),
        };
        mounts::finish(&rootfs, true, view.root.fd())
            .map_err(|source| failed(Path::new("/"), "read-only", source))?;
    }
    Ok(view)
}

/// Makes the view the calling thread's whole world.
pub(super) fn enter_root(view: &View) -> Result<(), ExecError> {
    (|| {
        rustix::process::fchdir(view.root.fd())?;
        rustix::process::pivot_root(".", ".")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH)?;
        rustix::process::chdir("/")
    })()
    .map_err(|error| kernel("enter the root filesystem", error))
}

/// Opens a terminal of the step's own devpts: our end, and the three descriptors for the process.
pub(super) fn terminal(view: &View) -> Result<(OwnedFd, [OwnedFd; 3]), ExecError> {
    let open = || -> io::Result<(OwnedFd, [OwnedFd; 3])> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK;
        let master = view.root.open_at(Path::new("/dev/pts/ptmx"), flags)?;
        rustix::pty::unlockpt(&master)?;
        let peer = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, peer)?;
        rustix::fs::fchown(&slave, Some(Uid::from_raw(view.identity.uid)), None)?;
        let (console, _) = view.root.ensure(Path::new("/dev/console"), Node::File)?;
        rustix::mount::mount_bind(proc_path(&slave), proc_path(&console))?;
        Ok((master, [slave.try_clone()?, slave.try_clone()?, slave]))
    };
    open().map_err(|error| kernel("open a terminal", error))
}

/// The files that are mounted over the root filesystem's own.
struct Files {
    resolv: PathBuf,
    hosts: PathBuf,
}

impl Files {
    fn write(
        scratch: &Path,
        settings: &Settings,
        request: &ExecRequest,
    ) -> Result<Files, ExecError> {
        let files = Files {
            resolv: scratch.join("resolv.conf"),
            hosts: scratch.join("hosts"),
        };
        let write = |path: &Path, content: &str| -> io::Result<()> {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o644))?;
            io::Write::write_all(&mut fs::File::from(file), content.as_bytes())
        };
        let dns = settings.dns.overridden_by(&request.dns);
        // By what was asked for, not by what it means here: the host's own file is for those who asked.
        let resolv = resolv::content(request.network, &dns)
            .map_err(|error| kernel("read the host's resolv.conf", error))?;
        write(&files.resolv, &resolv)
            .and_then(|()| {
                write(
                    &files.hosts,
                    &hosts::content(&request.hostname, &request.extra_hosts),
                )
            })
            .map_err(|error| kernel("write resolv.conf and hosts", error))?;
        Ok(files)
    }
}

fn mount_rootfs(settings: &Settings, request: &ExecRequest, path: &Path) -> Result<(), ExecError> {
    for mount in &request.rootfs {
        let open = || rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let done = || -> io::Result<()> {
            mounts::mount_on(mount, open()?.as_fd())?;
            mounts::finish(mount, false, open()?.as_fd())
        };
        done().map_err(|source| failed(Path::new("/"), &mount.kind, source))?;
    }
    if request.rootfs.is_empty() {
        let source = io::Error::from(io::ErrorKind::InvalidInput);
        return Err(failed(
            Path::new("/"),
            "the request has no root filesystem",
            source,
        ));
    }
    if !settings.cgroups.controls_devices() && request.security == Security::Sandbox {
        // Nothing else would keep a step from opening devices that are in its layers.
        let nodev = Mount {
            kind: "bind".to_owned(),
            source: PathBuf::new(),
            options: vec!["nodev".to_owned()],
        };
        let place = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| kernel("open the root filesystem", error))?;
        mounts::finish(&nodev, false, place.as_fd())
            .map_err(|source| failed(Path::new("/"), "nodev", source))?;
    }
    Ok(())
}

fn note_stubs(root: &Root, request: &ExecRequest) -> Stubs {
    let own = request.mounts.iter().map(|mount| mount.target.as_path());
    let targets: Vec<&Path> = [Path::new("/etc/resolv.conf"), Path::new("/etc/hosts")]
        .into_iter()
        .chain(own)
        .collect();
    Stubs::note(root, &targets, request.stubs)
}

fn make_cwd(root: &Root, request: &ExecRequest, identity: &Identity) -> Result<(), ExecError> {
    let make = || -> io::Result<()> {
        let (_, made) = root.ensure(&request.cwd, Node::Directory)?;
        for path in made {
            let dir = root.open_at(&path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            rustix::fs::fchown(
                dir,
                Some(Uid::from_raw(identity.uid)),
                Some(Gid::from_raw(identity.gid)),
            )?;
        }
        Ok(())
    };
    make().map_err(|error| {
        InvalidRequest::Cwd {
            path: request.cwd.clone(),
            reason: error.to_string(),
        }
        .into()
    })
}

struct Assembly<'a> {
    settings: &'a Settings,
    view: &'a View,
    request: &'a ExecRequest,
    network: Network,
    cgroups: &'a [(String, PathBuf)],
    staged: &'a Path,
}

impl Assembly<'_> {
    fn mount_all(&self, files: &Files) -> Result<(), ExecError> {
        let kernel = match self.request.security {
            Security::Sandbox => system::Kernel::ReadOnly,
            Security::Insecure => system::Kernel::Writable,
        };
        for (index, point) in system::all(kernel, &files.resolv, &files.hosts, &self.request.mounts)
            .iter()
            .enumerate()
        {
            let own = self
                .request
                .mounts
                .iter()
                .any(|mount| system::normal(&mount.target) == point.target);
            if own && point.target.starts_with("/proc") {
                let reason = "it cannot be mounted because it is inside /proc";
                return Err(failed(
                    &point.target,
                    reason,
                    io::ErrorKind::InvalidInput.into(),
                ));
            }
            self.mount_point(point, index)?;
            if !own && point.target == Path::new("/dev") {
                self.fill_dev()
                    .map_err(|error| kernel_error("make device nodes", error))?;
            }
        }
        Ok(())
    }

    fn mount_point(&self, point: &MountPoint, index: usize) -> Result<(), ExecError> {
        let fail = |source| failed(&point.target, &describe(point), source);
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
        match &point.selector {
            Some(selector) if system::normal(selector) != Path::new("/") => {
                let source = self
                    .stage(point, index)
                    .map_err(fail)?
                    .locate(selector)
                    .map_err(|error| match error.kind() {
                        io::ErrorKind::NotFound => InvalidRequest::Selector {
                            target: point.target.clone(),
                            selector: selector.clone(),
                        }
                        .into(),
                        _ => fail(error),
                    })?;
                self.mount_source(
                    point,
                    &Mount::bind(proc_path(&source)),
                    node(&source).map_err(fail)?,
                )
                .map_err(fail)
            }
            _ => {
                for mount in &point.sources {
                    let node = match mount.kind.as_str() {
                        "bind" if !fs::metadata(&mount.source).map_err(fail)?.is_dir() => {
                            Node::File
                        }
                        _ => Node::Directory,
                    };
                    self.mount_source(point, mount, node).map_err(fail)?;
                }
                Ok(())
            }
        }
    }

    fn mount_source(&self, point: &MountPoint, mount: &Mount, node: Node) -> io::Result<()> {
        let (place, _) = self.view.root.ensure(&point.target, node)?;
        match mounts::mount_on(mount, place.as_fd()) {
            // Group 5 need not exist in a user namespace.
            Err(error) if mount.kind == "devpts" && error.kind() == io::ErrorKind::InvalidInput => {
                let mut without = mount.clone();
                without.options.retain(|option| !option.starts_with("gid="));
                mounts::mount_on(&without, place.as_fd())?;
            }
            other => other?,
        }
        let read_only = point.access == Access::ReadOnly;
        mounts::finish(
            mount,
            read_only,
            self.view.root.locate(&point.target)?.as_fd(),
        )
    }

    /// Mounts a source aside, to take a part of it.
    fn stage(&self, point: &MountPoint, index: usize) -> io::Result<Root> {
        let path = self.staged.join(format!("source{index}"));
        fs::create_dir(&path)?;
        for mount in &point.sources {
            let place =
                rustix::fs::openat(CWD, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            mounts::mount_on(mount, place.as_fd())?;
        }
        Root::open(&path)
    }

    /// A directory for one of the kernel's filesystems, which a link must not lead elsewhere.
    fn ordinary_directory(&self, target: &Path) -> io::Result<OwnedFd> {
        let (place, _) = self.view.root.ensure(target, Node::Directory)?;
        let stat = self.view.root.stat(target)?;
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
                        && self.network != Network::None =>
                {
                    let host = Mount {
                        options: [mount.options.as_slice(), &["rbind".to_owned()]].concat(),
                        ..Mount::bind("/sys")
                    };
                    mounts::mount_on(&host, place.as_fd())?;
                    mounts::finish(&host, false, self.view.root.locate(&point.target)?.as_fd())?;
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
        let Ok(place) = self.view.root.locate(&point.target) else {
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
            let (place, _) = self.view.root.ensure(&target, Node::Directory)?;
            let bind = Mount {
                kind: "bind".to_owned(),
                source: dir.clone(),
                options: options.clone(),
            };
            mounts::mount_on(&bind, place.as_fd())?;
            mounts::finish(&bind, false, self.view.root.locate(&target)?.as_fd())?;
        }
        let tmpfs = Mount {
            kind: "bind".to_owned(),
            source: PathBuf::new(),
            options,
        };
        mounts::finish(&tmpfs, false, self.view.root.locate(&point.target)?.as_fd())
    }

    fn fill_dev(&self) -> io::Result<()> {
        let extra = devices::extra_nodes(self.request.security, &self.request.devices)
            .map_err(io::Error::other)?;
        for device in devices::default_nodes().iter().chain(&extra) {
            self.make_node(device)?;
        }
        let dev = self.view.root.locate(Path::new("/dev"))?;
        for (path, target) in devices::LINKS {
            let name = path.trim_start_matches("/dev/");
            if name != "core"
                || self.request.security == Security::Insecure
                || Path::new(target).exists()
            {
                rustix::fs::symlinkat(target, &dev, name)?;
            }
        }
        Ok(())
    }

    fn make_node(&self, device: &devices::Node) -> io::Result<()> {
        let path = Path::new(&device.path);
        let parent = path.parent().unwrap_or(Path::new("/"));
        self.view.root.ensure(parent, Node::Directory)?;
        let (dir, name) = self.view.root.parent(path)?;
        let kind = match device.kind {
            Kind::Character => FileType::CharacterDevice,
            Kind::Block => FileType::BlockDevice,
        };
        let mode = Mode::from_raw_mode(device.mode);
        if !self.settings.in_user_namespace {
            match rustix::fs::mknodat(
                &dir,
                name,
                kind,
                mode,
                rustix::fs::makedev(device.major, device.minor),
            ) {
                Ok(()) | Err(Errno::EXIST) => return Ok(()),
                Err(Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Where nobody may make devices, the host's are good enough, if it has them.
        let host = Path::new("/dev").join(path.strip_prefix("/dev").unwrap_or(path));
        if !host.exists() {
            return Ok(());
        }
        let (place, _) = self.view.root.ensure(path, Node::File)?;
        Ok(rustix::mount::mount_bind(&host, proc_path(&place))?)
    }
}

fn describe(point: &MountPoint) -> String {
    match point.sources.first() {
        Some(mount) if mount.kind == "bind" => format!("bind of {}", mount.source.display()),
        Some(mount) => mount.kind.clone(),
        None => "nothing to mount".to_owned(),
    }
}

fn failed(target: &Path, what: &str, source: io::Error) -> ExecError {
    ExecError::Mount {
        target: target.to_owned(),
        what: what.to_owned(),
        cause: source,
    }
}

fn kernel_error(action: &str, error: io::Error) -> ExecError {
    kernel(action, error)
}
