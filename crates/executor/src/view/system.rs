//! The mounts that every step has, in the field's order.

use std::path::{Component, Path, PathBuf};

use crate::{Access, Mount, MountPoint};

/// Hidden from a sandboxed step.
pub(crate) const MASKED_PATHS: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/proc/scsi",
];

/// Not writable by a sandboxed step.
pub(crate) const READ_ONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Kind of the mount that stands for the step's cgroup.
pub(crate) const CGROUP: &str = "cgroup";

/// The mounts of a step: the system's, with the given access to the kernel's trees, then its own, where one at the place of an earlier one replaces it.
pub(crate) fn all(
    kernel: Access,
    resolv: &Path,
    hosts: &Path,
    own: &[MountPoint],
) -> Vec<MountPoint> {
    let mut mounts: Vec<MountPoint> = Vec::new();
    for mount in system(kernel, resolv, hosts)
        .into_iter()
        .chain(own.iter().cloned())
    {
        let target = normal(&mount.target);
        let mount = MountPoint { target, ..mount };
        match mounts.iter_mut().find(|known| known.target == mount.target) {
            Some(known) => *known = mount,
            None => mounts.push(mount),
        }
    }
    mounts
}

/// `path` from the root, without `.` and `..`.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => drop(normal.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    normal
}

fn system(kernel: Access, resolv: &Path, hosts: &Path) -> Vec<MountPoint> {
    let sealed = ["nosuid", "noexec", "nodev"];
    let guarded: &[&str] = match kernel {
        Access::ReadOnly => &["ro"],
        Access::ReadWrite => &["rw"],
    };
    let file = ["nosuid", "noexec", "nodev", "rbind", "ro"];
    vec![
        mount("/proc", "proc", "proc", &[&sealed]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &[&["nosuid", "strictatime", "mode=755", "size=65536k"]],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[&[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ]],
        ),
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &[&sealed, &["mode=1777", "size=65536k"]],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &[&sealed]),
        mount("/sys", "sysfs", "sysfs", &[&sealed, guarded]),
        mount("/etc/resolv.conf", "bind", resolv, &[&file]),
        mount("/etc/hosts", "bind", hosts, &[&file]),
        mount("/sys/fs/cgroup", CGROUP, "cgroup", &[&sealed, guarded]),
    ]
}

fn mount(target: &str, kind: &str, source: impl AsRef<Path>, options: &[&[&str]]) -> MountPoint {
    MountPoint {
        target: PathBuf::from(target),
        sources: vec![Mount {
            kind: kind.to_owned(),
            source: source.as_ref().to_owned(),
            options: options
                .iter()
                .flat_map(|group| group.iter())
                .map(|option| (*option).to_owned())
                .collect(),
        }],
        selector: None,
        access: Access::ReadWrite,
    }
}
