//! A step's root filesystem, mounted in the calling thread's private namespace, before anything is mounted in it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::MountFlags;
use rustix::process::{Gid, Uid};

use super::Settings;
use super::aside::{self, Aside};
use super::step::kernel;
use crate::view::bundle::Bundle;
use crate::view::root::{Node, Root, node, proc_path};
use crate::view::stubs::Stubs;
use crate::view::user::Identity;
use crate::view::{hosts, mounts, resolv, system, user};
use crate::{
    Access, ExecError, ExecRequest, InvalidRequest, MemoryFile, Mount, MountPoint, RootAccess,
    Security,
};

/// A mounted root filesystem and what belongs into it.
#[derive(Debug)]
pub(crate) struct Rootfs {
    pub(crate) root: Root,
    /// Where it is mounted.
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
    /// A tmpfs of the step's own that is not seen by it.
    pub(crate) scratch: PathBuf,
    /// Everything to be mounted, in order.
    pub(crate) mounts: Vec<MountPoint>,
}

impl Rootfs {
    /// Mounts the root filesystem and resolves the request's user and working directory in it. `aside` is set as
    /// soon as there may be something to be put right afterwards.
    pub(crate) fn mount(
        settings: &Settings,
        request: &ExecRequest,
        aside: &mut Option<Aside>,
    ) -> Result<Rootfs, ExecError> {
        // Everything in here is gone with the namespace.
        let scratch = settings.mount_point.clone();
        rustix::mount::mount(
            "kiln",
            &scratch,
            "tmpfs",
            MountFlags::NOSUID | MountFlags::NODEV,
            c"mode=755",
        )
        .map_err(|error| kernel(&format!("mount a tmpfs on {}", scratch.display()), error))?;
        let mut mounts = mount_points(&scratch, settings, request)?;

        let path = scratch.join("rootfs");
        fs::create_dir(&path).map_err(|error| kernel("make a mount point", error))?;
        mount_sources(settings, request, &path)?;
        let fail = |error| kernel("open the root filesystem", error);
        let root = Root::open(&path).map_err(fail)?;
        let noted = Aside::new(&path, note_stubs(&root, request)).map_err(fail)?;
        let aside = aside.insert(noted);
        mounts.splice(..0, trust(&scratch, request, &root, aside)?);
        let identity = user::resolve(&root, &request.user, &request.additional_gids)?;
        make_cwd(&root, request, &identity)?;
        Ok(Rootfs {
            root,
            path,
            identity,
            scratch,
            mounts,
        })
    }

    /// What to mount at `point`, number `index` of the mounts, and on what kind of node: its sources, or the
    /// part of them that the selector names.
    pub(crate) fn sources(
        &self,
        point: &MountPoint,
        index: usize,
    ) -> Result<Vec<(Mount, Node)>, ExecError> {
        let fail = |error| failed(&point.target, &describe(point), error);
        let Some(selector) = point
            .selector
            .as_deref()
            .filter(|path| system::normal(path) != Path::new("/"))
        else {
            let pair = |mount: &Mount| {
                let is_file = mount.kind == "bind" && !fs::metadata(&mount.source)?.is_dir();
                Ok((
                    mount.clone(),
                    if is_file { Node::File } else { Node::Directory },
                ))
            };
            return point
                .sources
                .iter()
                .map(pair)
                .collect::<io::Result<_>>()
                .map_err(fail);
        };
        // Mounted aside, so that the path is resolved inside the source and nowhere else.
        let whole = self.scratch.join(format!("source{index}"));
        fs::create_dir(&whole).map_err(fail)?;
        for mount in &point.sources {
            mounts::mount_on(mount, place(&whole).map_err(fail)?.as_fd()).map_err(fail)?;
        }
        let part = Root::open(&whole)
            .and_then(|root| root.locate(selector))
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => InvalidRequest::Selector {
                    target: point.target.clone(),
                    selector: selector.to_owned(),
                }
                .into(),
                _ => fail(error),
            })?;
        let bound = || -> io::Result<(Mount, Node)> {
            let (path, node) = (self.scratch.join(format!("part{index}")), node(&part)?);
            match node {
                Node::Directory => fs::create_dir(&path)?,
                Node::File => drop(fs::File::create(&path)?),
            }
            rustix::mount::mount_bind_recursive(proc_path(&part), &path)?;
            Ok((Mount::bind(path), node))
        };
        Ok(vec![bound().map_err(fail)?])
    }
}

/// A failed mount.
pub(crate) fn failed(target: &Path, what: &str, cause: io::Error) -> ExecError {
    ExecError::Mount {
        target: target.to_owned(),
        what: what.to_owned(),
        cause,
    }
}

/// A mount point's source in a few words.
pub(crate) fn describe(point: &MountPoint) -> String {
    match point.sources.first() {
        Some(mount) if mount.kind == "bind" => format!("bind of {}", mount.source.display()),
        Some(mount) => mount.kind.clone(),
        None => "nothing to mount".to_owned(),
    }
}

/// The system's mounts with files made for them, the request's, and the request's files.
fn mount_points(
    scratch: &Path,
    settings: &Settings,
    request: &ExecRequest,
) -> Result<Vec<MountPoint>, ExecError> {
    let dns = settings.dns.overridden_by(&request.dns);
    // By what was asked for, not by what it means here: the host's own file is for those who asked.
    let resolv_content = resolv::content(&request.network, &dns)
        .map_err(|error| kernel("read the host's resolv.conf", error))?;
    let hosts_content = hosts::content(&request.hostname, &request.extra_hosts);
    let write = |name: &str, file: &MemoryFile| {
        let path = scratch.join(name);
        write_file(&path, file)
            .map(|()| path)
            .map_err(|error| kernel(&format!("write {}", file.target.display()), error))
    };
    let plain = |target: &str, content: String| MemoryFile {
        target: PathBuf::from(target),
        data: content.into_bytes(),
        uid: 0,
        gid: 0,
        mode: 0o644,
    };
    let resolv = write("resolv.conf", &plain("/etc/resolv.conf", resolv_content))?;
    let hosts = write("hosts", &plain("/etc/hosts", hosts_content))?;
    let access = match request.security {
        Security::Sandbox => Access::ReadOnly,
        Security::Insecure => Access::ReadWrite,
    };
    let mut mounts = system::all(access, &resolv, &hosts, &request.mounts);
    for (index, file) in request.files.iter().enumerate() {
        let source = write(&format!("file{index}"), file)?;
        mounts.push(file_mount(file, source));
    }
    Ok(mounts)
}

/// A read-only mount of a file made from memory.
fn file_mount(file: &MemoryFile, source: PathBuf) -> MountPoint {
    let mut options = vec!["rbind", "ro", "nodev", "nosuid"];
    if file.mode & 0o111 == 0 {
        options.push("noexec");
    }
    let mount = Mount {
        kind: "bind".to_owned(),
        source,
        options: options.into_iter().map(str::to_owned).collect(),
    };
    MountPoint::read_only(system::normal(&file.target), mount)
}

/// Has the step trust the authority that the request names. Where the bundle of certificates cannot be written,
/// by the step neither, the answer is what to mount over it.
fn trust(
    scratch: &Path,
    request: &ExecRequest,
    root: &Root,
    aside: &mut Aside,
) -> Result<Option<MountPoint>, ExecError> {
    let fail = |error| kernel("add to the root filesystem's certificates", error);
    let Some(certificates) = &request.trusted_authority else {
        return Ok(None);
    };
    let Some(bundle) = Bundle::find(root, certificates).map_err(fail)? else {
        return Ok(None);
    };
    let fixed = if request.root_access == RootAccess::ReadOnly {
        bundle
    } else {
        let upper = aside::upper_without(request, &bundle.path);
        match bundle.extend(root) {
            Ok(extended) => {
                aside.added(extended, upper);
                return Ok(None);
            }
            Err((bundle, error)) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => bundle,
            Err((_, error)) => return Err(fail(error)),
        }
    };
    let (file, source) = (fixed.covering(), scratch.join("certificates"));
    write_file(&source, &file).map_err(fail)?;
    Ok(Some(file_mount(&file, source)))
}

fn write_file(path: &Path, file: &MemoryFile) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600))?;
    let (uid, gid) = user::owner(file.uid, file.gid);
    rustix::fs::fchown(&opened, uid, gid)?;
    rustix::fs::fchmod(&opened, Mode::from_raw_mode(file.mode & 0o7777))?;
    io::Write::write_all(&mut fs::File::from(opened), &file.data)
}

fn mount_sources(settings: &Settings, request: &ExecRequest, path: &Path) -> Result<(), ExecError> {
    if request.rootfs.is_empty() {
        return Err(InvalidRequest::NoRootfs.into());
    }
    for mount in &request.rootfs {
        let done = || -> io::Result<()> {
            mounts::mount_on(mount, place(path)?.as_fd())?;
            mounts::finish(mount, Access::ReadWrite, place(path)?.as_fd())
        };
        done().map_err(|error| failed(Path::new("/"), &mount.kind, error))?;
    }
    if !settings.cgroups.controls_devices() && request.security == Security::Sandbox {
        // Nothing else would keep a step from opening devices that are in its layers.
        let nodev = Mount {
            options: vec!["bind".to_owned(), "nodev".to_owned()],
            ..Mount::bind(path)
        };
        place(path)
            .and_then(|place| mounts::finish(&nodev, Access::ReadWrite, place.as_fd()))
            .map_err(|error| failed(Path::new("/"), "nodev", error))?;
    }
    Ok(())
}

fn note_stubs(root: &Root, request: &ExecRequest) -> Stubs {
    let mut targets = vec![Path::new("/etc/resolv.conf"), Path::new("/etc/hosts")];
    targets.extend(request.mounts.iter().map(|mount| mount.target.as_path()));
    targets.extend(request.files.iter().map(|file| file.target.as_path()));
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

/// Opens what is at `path` of the host, or mounted on it, as a place.
fn place(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(
        CWD,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}
