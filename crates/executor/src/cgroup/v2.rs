//! cgroup v2: one tree, processes are born in their place.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use super::instance::{Instance, PARENT, sweep};
use super::layout::Hierarchy;
use super::{Base, StepCgroup, Wanted, base_dir, ebpf, failed, limits, make_dir, set};
use crate::kernel::calls;
use crate::view::devices::{self, Rule};
use crate::{ExecError, Security};

/// Controllers that are enabled where possible.
const CONTROLLERS: [&str; 4] = ["memory", "cpu", "cpuset", "pids"];

/// Directories with the device rules of the two kinds of steps.
const GROUPS: [(&str, Security); 2] = [
    ("sandbox", Security::Sandbox),
    ("insecure", Security::Insecure),
];

/// Our directory in the tree.
#[derive(Debug)]
pub(super) struct Tree {
    hierarchy: Hierarchy,
    instance: Instance,
}

impl Tree {
    pub(super) fn new(hierarchy: Hierarchy, base: &Base, name: &str) -> io::Result<Tree> {
        let wanted = base_dir(base, &hierarchy);
        // A cgroup with processes of its own cannot hand controllers down, unless it is the root.
        let base = match base {
            Base::Own if !enable_controllers(&wanted) => hierarchy.mount.clone(),
            Base::Own | Base::Path(_) => wanted,
        };
        sweep(&base);
        let instance = Instance::create(&base, name)?;
        for dir in [&base, &base.join(PARENT), &instance.dir] {
            enable_controllers(dir);
        }
        for (group, security) in GROUPS {
            let dir = instance.dir.join(group);
            make_dir(&dir)?;
            enable_controllers(&dir);
            restrict_devices(&dir, &devices::rules(security, &[]))?;
        }
        Ok(Tree {
            hierarchy,
            instance,
        })
    }

    pub(super) fn step(&self, wanted: Wanted<'_>) -> Result<StepCgroup, ExecError> {
        let custom = !wanted.devices.is_empty();
        // Rules add up along the path, so devices of one's own need a start without rules.
        let security = if custom {
            Security::Insecure
        } else {
            wanted.security
        };
        let group = GROUPS
            .iter()
            .find(|(_, kind)| *kind == security)
            .map_or("sandbox", |(group, _)| group);
        let dir = self.instance.dir.join(group).join(wanted.id);
        let mut step = StepCgroup::default();
        fs::create_dir(&dir).map_err(|error| failed(&dir, error))?;
        step.made.push(dir.clone());
        step.count_oom_kills(dir.join("memory.events"));
        if custom {
            let rules = devices::rules(wanted.security, wanted.devices);
            restrict_devices(&dir, &rules).map_err(|error| failed(&dir, error))?;
        }
        limits::v2(wanted.resources)
            .iter()
            .try_for_each(|limit| set(&dir, limit))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(CWD, &dir, flags, Mode::empty());
        step.into = Some(opened.map_err(|error| failed(&dir, error))?);
        Ok(step)
    }

    pub(super) fn runtime_step(&self, id: &str) -> (Option<String>, Vec<PathBuf>, Option<PathBuf>) {
        let dir = self.instance.dir.join(id);
        let path = dir
            .strip_prefix(&self.hierarchy.mount)
            .ok()
            .map(|path| format!("/{}", path.display()));
        let memory = dir.join("memory.events");
        (path, vec![dir], Some(memory))
    }
}

fn restrict_devices(dir: &Path, rules: &[Rule]) -> io::Result<()> {
    let program = calls::load_device_program(&ebpf::program(rules))?;
    calls::attach_device_program(program, File::open(dir)?)
}

/// Hands the controllers we use down from `dir`; whether it has what matters most.
fn enable_controllers(dir: &Path) -> bool {
    for controller in CONTROLLERS {
        let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
    }
    let enabled = fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
    enabled
        .split_whitespace()
        .any(|controller| controller == "memory")
}

/// The v2 tree of a machine that has one, also beside v1.
#[cfg(test)]
pub(super) fn hierarchy() -> Hierarchy {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let line = mounts
        .lines()
        .find(|line| line.contains(" - cgroup2 "))
        .expect("a cgroup v2 tree");
    let mount = PathBuf::from(line.split(' ').nth(4).expect("a mount point"));
    Hierarchy {
        controllers: Vec::new(),
        own: mount.clone(),
        mount,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn device_rules_hold_in_a_v2_cgroup() {
        let tree = Tree::new(hierarchy(), &Base::Path("/".to_owned()), "test-of-rules").unwrap();
        let resources = crate::Resources::default();
        let read = |security, devices: &[crate::Device], path: &str| {
            let wanted = Wanted {
                id: "step",
                security,
                resources: &resources,
                devices,
            };
            let step = tree.step(wanted).unwrap();
            let procs = step.made[0].join("cgroup.procs");
            let script = "echo 0 > $0 && exec dd bs=8k count=1 of=/dev/null if=$1";
            let mut command = Command::new("sh");
            command.args(["-c", script]).arg(procs).arg(path);
            command.output().unwrap().status.success()
        };
        let node = tempfile::tempdir().unwrap();
        let disk = node.path().join("disk");
        let number = rustix::fs::makedev(1, 11);
        rustix::fs::mknodat(
            CWD,
            &disk,
            rustix::fs::FileType::CharacterDevice,
            0o600.into(),
            number,
        )
        .unwrap();
        let disk = disk.to_str().unwrap();
        let device = crate::Device {
            permissions: "r".to_owned(),
            ..crate::Device::of_host(disk).unwrap()
        };
        assert!(read(Security::Sandbox, &[], "/dev/zero"));
        assert!(!read(Security::Sandbox, &[], disk));
        assert!(read(Security::Insecure, &[], disk));
        assert!(read(Security::Sandbox, &[device], disk));
    }
}
