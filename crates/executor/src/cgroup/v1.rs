//! cgroup v1: one tree per controller, processes join after their birth.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use super::instance::{Instance, remove_tree, sweep};
use super::layout::Hierarchy;
use super::limits::{self, Limit};
use super::{Base, StepCgroup, Wanted, base_dir, failed, make_dir, set, unavailable};
use crate::view::devices::{self, Rule};
use crate::{DeviceKind, ExecError, Security};

/// The directory in the device tree that all sandboxed steps share.
const SANDBOX: &str = "sandbox";

/// Controllers whose limits programs look up to decide how many threads and how much memory to use.
const SHOWN: [&str; 5] = ["memory", "cpu", "cpuacct", "cpuset", "pids"];

/// Our directory in every tree that we may use.
#[derive(Debug)]
pub(super) struct Trees {
    trees: Vec<(Hierarchy, Instance)>,
}

/// Directories that a worker thread stays in, so that the steps it starts are born there: moving a process
/// costs milliseconds on a quiet machine.
#[derive(Debug)]
pub(crate) struct Slot {
    memory: Option<PathBuf>,
    tasks: Vec<PathBuf>,
    leave: Vec<PathBuf>,
}

impl Trees {
    pub(super) fn new(hierarchies: Vec<Hierarchy>, base: &Base, name: &str) -> Trees {
        let mut trees = Vec::new();
        for hierarchy in hierarchies {
            let base = base_dir(base, &hierarchy);
            sweep(&base);
            match settle(&hierarchy, &base, name) {
                Ok(instance) => trees.push((hierarchy, instance)),
                Err(error) => tracing::info!(%error, cgroup = %base.display(), "not used"),
            }
        }
        Trees { trees }
    }

    pub(super) fn has(&self, controller: &str) -> bool {
        self.trees
            .iter()
            .any(|(hierarchy, _)| hierarchy.has(controller))
    }

    pub(super) fn slot(&self, number: usize) -> io::Result<Slot> {
        let mut slot = Slot {
            memory: None,
            tasks: Vec::new(),
            leave: Vec::new(),
        };
        for (hierarchy, instance) in &self.trees {
            let dir = if hierarchy.has("devices") {
                instance.dir.join(SANDBOX)
            } else if hierarchy.has("memory") {
                let dir = instance.dir.join(format!("worker{number}"));
                make_dir(&dir)?;
                slot.memory = Some(dir.clone());
                dir
            } else {
                continue;
            };
            slot.tasks.push(dir.join("tasks"));
            slot.leave.push(hierarchy.own.join("tasks"));
        }
        Ok(slot)
    }

    pub(super) fn step(
        &self,
        wanted: Wanted<'_>,
        slot: Option<&Slot>,
    ) -> Result<StepCgroup, ExecError> {
        let limits = limits::v1(wanted.resources);
        if let Some(limit) = limits.iter().find(|limit| !self.has(limit.controller)) {
            return Err(unavailable(limit));
        }
        let mut step = StepCgroup::default();
        for (hierarchy, instance) in &self.trees {
            let limits: Vec<&Limit> = limits
                .iter()
                .filter(|limit| hierarchy.has(limit.controller))
                .collect();
            let dir = place(&mut step, (hierarchy, instance), wanted, &limits, slot)?;
            if hierarchy.has("memory") {
                step.count_oom_kills(dir.join("memory.oom_control"));
            }
            if let Some(name) = hierarchy.mount.file_name()
                && SHOWN.iter().any(|controller| hierarchy.has(controller))
            {
                step.shown.push((name.to_string_lossy().into_owned(), dir));
            }
        }
        Ok(step)
    }

    pub(super) fn runtime_step(&self, id: &str) -> (Option<String>, Vec<PathBuf>, Option<PathBuf>) {
        let dirs: Vec<PathBuf> = self
            .trees
            .iter()
            .map(|(_, instance)| instance.dir.join(id))
            .collect();
        let memory = self
            .trees
            .iter()
            .find(|(hierarchy, _)| hierarchy.has("memory"));
        let memory = memory.map(|(_, instance)| instance.dir.join(id).join("memory.oom_control"));
        let path = self
            .trees
            .first()
            .zip(dirs.first())
            .and_then(|((hierarchy, _), dir)| {
                Some(format!(
                    "/{}",
                    dir.strip_prefix(&hierarchy.mount).ok()?.display()
                ))
            });
        (path, dirs, memory)
    }
}

impl Slot {
    /// Moves the calling thread into the slot.
    pub(crate) fn enter(&self) -> io::Result<()> {
        self.tasks.iter().try_for_each(|file| fs::write(file, "0"))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Dropped by the thread that is in it, which is about to end.
        for file in &self.leave {
            let _ = fs::write(file, "0");
        }
        if let Some(dir) = &self.memory {
            remove_tree(dir);
        }
    }
}

/// Where a step is in one tree: in its own directory where something about it is special, else where its
/// worker thread is.
fn place(
    step: &mut StepCgroup,
    (hierarchy, instance): (&Hierarchy, &Instance),
    wanted: Wanted<'_>,
    limits: &[&Limit],
    slot: Option<&Slot>,
) -> Result<PathBuf, ExecError> {
    let has_devices = hierarchy.has("devices");
    let special_devices =
        has_devices && (wanted.security == Security::Insecure || !wanted.devices.is_empty());
    let slot_memory = slot
        .and_then(|slot| slot.memory.clone())
        .filter(|_| hierarchy.has("memory"));
    let homeless = hierarchy.has("memory") && slot_memory.is_none();

    if limits.is_empty() && !special_devices && !homeless {
        let sandbox = instance.dir.join(SANDBOX);
        return match slot_memory {
            Some(dir) => Ok(dir),
            None if has_devices && slot.is_none() => {
                step.join
                    .push(open_tasks(&sandbox).map_err(|error| failed(&sandbox, error))?);
                Ok(sandbox)
            }
            None if has_devices => Ok(sandbox),
            None => Ok(instance.dir.clone()),
        };
    }
    let dir = instance.dir.join(wanted.id);
    fs::create_dir(&dir).map_err(|error| failed(&dir, error))?;
    step.made.push(dir.clone());
    if hierarchy.has("cpuset") {
        inherit_cpuset(&dir, hierarchy).map_err(|error| failed(&dir, error))?;
    }
    if special_devices {
        let rules = devices::rules(wanted.security, wanted.devices);
        restrict_devices(&dir, &rules).map_err(|error| failed(&dir, error))?;
    }
    limits.iter().try_for_each(|limit| set(&dir, limit))?;
    step.join
        .push(open_tasks(&dir).map_err(|error| failed(&dir, error))?);
    Ok(dir)
}

/// Makes our directory in a tree. The device rules are in place before anything can be.
fn settle(hierarchy: &Hierarchy, base: &Path, name: &str) -> io::Result<Instance> {
    let instance = Instance::create(base, name)?;
    if hierarchy.has("devices") {
        let sandbox = instance.dir.join(SANDBOX);
        fs::create_dir(&sandbox)?;
        restrict_devices(&sandbox, &devices::rules(Security::Sandbox, &[]))?;
    }
    Ok(instance)
}

fn restrict_devices(dir: &Path, rules: &[Rule]) -> io::Result<()> {
    fs::write(dir.join("devices.deny"), "a")?;
    for rule in rules {
        let number =
            |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        let kind = match rule.kind {
            DeviceKind::Character => "c",
            DeviceKind::Block => "b",
        };
        let line = format!(
            "{kind} {}:{} {}",
            number(rule.major),
            number(rule.minor),
            rule.access
        );
        match fs::write(dir.join("devices.allow"), line) {
            // What this process may not use itself it cannot grant.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            other => other?,
        }
    }
    Ok(())
}

/// A cpuset is unusable until both of its files are filled, from the top down.
fn inherit_cpuset(dir: &Path, hierarchy: &Hierarchy) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let inherited = fs::read_to_string(hierarchy.own.join(file))?;
        let mut line: Vec<&Path> = dir
            .ancestors()
            .take_while(|ancestor| *ancestor != hierarchy.mount)
            .collect();
        line.reverse();
        for ancestor in line {
            if fs::read_to_string(ancestor.join(file))?.trim().is_empty() {
                fs::write(ancestor.join(file), inherited.trim())?;
            }
        }
    }
    Ok(())
}

fn open_tasks(dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(
        CWD,
        dir.join("tasks"),
        flags,
        Mode::empty(),
    )?)
}
