//! cgroups of steps: device rules, limits, and the knowledge that something ran out of memory.

mod ebpf;
mod instance;
mod layout;
mod limits;
mod v1;
mod v2;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Device, ExecError, ExecRequest, Resources, Security};
pub(crate) use instance::kill_all;
use instance::remove_tree;
use layout::{Hierarchy, Layout};
use limits::Limit;
pub(crate) use v1::Slot;

/// Where the tree of steps starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// In this process's own cgroup, so that its limits hold for the steps, too.
    Own,
    /// At a path from the root.
    Path(String),
}

/// The cgroups of one executor.
#[derive(Debug)]
pub(crate) struct Cgroups {
    version: Version,
    beside: Option<PathBuf>,
}

#[derive(Debug)]
enum Version {
    V1(v1::Trees),
    V2(v2::Tree),
    /// None can be used.
    None,
}

/// What a step needs of its cgroup.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) id: &'a str,
    pub(crate) security: Security,
    pub(crate) resources: &'a Resources,
    pub(crate) devices: &'a [Device],
}

/// A step's cgroup. Removed on drop.
#[derive(Debug, Default)]
pub(crate) struct StepCgroup {
    /// v2 directory to be born in.
    pub(crate) into: Option<OwnedFd>,
    /// v1 files to write oneself into.
    pub(crate) join: Vec<OwnedFd>,
    /// Directories to show at `/sys/fs/cgroup`: name there and path on the host (v1).
    pub(crate) shown: Vec<(String, PathBuf)>,
    /// Directories that are the step's alone.
    pub(crate) made: Vec<PathBuf>,
    memory: Option<OomCounter>,
}

/// Reads how often the kernel has killed for lack of memory.
#[derive(Debug)]
struct OomCounter {
    file: PathBuf,
    before: u64,
}

impl Cgroups {
    /// Looks at the machine, removes what dead engines left, and makes this one's directories.
    pub(crate) fn new(base: &Base) -> Cgroups {
        let name = instance_name();
        let mut beside = None;
        let version = match layout::detect() {
            Ok(Layout::V1(hierarchies, unified)) => {
                beside = unified;
                Ok(Version::V1(v1::Trees::new(hierarchies, base, &name)))
            }
            Ok(Layout::V2(hierarchy)) => v2::Tree::new(hierarchy, base, &name).map(Version::V2),
            Ok(Layout::None) => Err(io::Error::other("no cgroup file system is mounted")),
            Err(error) => Err(error),
        };
        let version = version.unwrap_or_else(|error| {
            tracing::info!(%error, "no cgroups: steps run without limits and without devices of their own");
            Version::None
        });
        Cgroups { version, beside }
    }

    /// Those of a machine with cgroup v2 alone, at the root of the tree that is mounted beside v1.
    #[cfg(test)]
    pub(crate) fn unified() -> Cgroups {
        let version = v2::Tree::new(
            v2::hierarchy(),
            &Base::Path(String::new()),
            &instance_name(),
        );
        Cgroups {
            version: Version::V2(version.expect("a cgroup v2 tree")),
            beside: None,
        }
    }

    /// Where a cgroup v2 tree is mounted beside those of v1, which some runtimes cannot stand.
    pub(crate) fn beside(&self) -> Option<&Path> {
        self.beside.as_deref()
    }

    /// Whether device access of steps can be restricted.
    pub(crate) fn controls_devices(&self) -> bool {
        match &self.version {
            Version::V1(trees) => trees.has("devices"),
            Version::V2(_) => true,
            Version::None => false,
        }
    }

    /// Whether steps see a cgroup v2 tree.
    pub(crate) fn is_unified(&self) -> bool {
        matches!(self.version, Version::V2(_))
    }

    /// Directories for a worker thread that runs one ordinary step after the other; none are needed on v2.
    pub(crate) fn slot(&self, number: usize) -> io::Result<Option<Slot>> {
        match &self.version {
            Version::V1(trees) => trees.slot(number).map(Some),
            Version::V2(_) | Version::None => Ok(None),
        }
    }

    /// The cgroup of one step, started from a thread in `slot`.
    pub(crate) fn step(
        &self,
        wanted: Wanted<'_>,
        slot: Option<&Slot>,
    ) -> Result<StepCgroup, ExecError> {
        match &self.version {
            Version::V1(trees) => trees.step(wanted, slot),
            Version::V2(tree) => tree.step(wanted),
            Version::None => match limits::v2(wanted.resources).first() {
                Some(limit) => Err(unavailable(limit)),
                None => Ok(StepCgroup::default()),
            },
        }
    }

    /// Where a runtime is to make the cgroup of the step `id`: the path from the root, and the directories
    /// that it will be in.
    pub(crate) fn runtime_step(&self, id: &str) -> (Option<String>, StepCgroup) {
        let (path, made, memory) = match &self.version {
            Version::V1(trees) => trees.runtime_step(id),
            Version::V2(tree) => tree.runtime_step(id),
            Version::None => return (None, StepCgroup::default()),
        };
        let mut step = StepCgroup::default();
        step.made = made;
        step.memory = memory.map(|file| OomCounter { file, before: 0 });
        (path, step)
    }
}

impl<'a> Wanted<'a> {
    /// What `request` needs.
    pub(crate) fn by(request: &'a ExecRequest) -> Wanted<'a> {
        Wanted {
            id: &request.id,
            security: request.security,
            resources: &request.resources,
            devices: &request.devices,
        }
    }
}

impl StepCgroup {
    /// Whether the kernel has killed something in the step for lack of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.memory
            .as_ref()
            .is_some_and(|counter| oom_kills(&counter.file) > counter.before)
    }

    /// Counts from now on in `file`.
    fn count_oom_kills(&mut self, file: PathBuf) {
        self.memory = Some(OomCounter {
            before: oom_kills(&file),
            file,
        });
    }
}

impl Drop for StepCgroup {
    fn drop(&mut self) {
        self.made.iter().for_each(|dir| remove_tree(dir));
    }
}

/// Where in a hierarchy the tree starts.
fn base_dir(base: &Base, hierarchy: &Hierarchy) -> PathBuf {
    match base {
        Base::Own => hierarchy.own.clone(),
        // `system.slice:prefix:` is systemd's form; we make our directories in the slice ourselves.
        Base::Path(path) => hierarchy.mount.join(
            path.split(':')
                .next()
                .unwrap_or_default()
                .trim_start_matches('/'),
        ),
    }
}

fn set(dir: &Path, limit: &Limit) -> Result<(), ExecError> {
    fs::write(dir.join(limit.file), &limit.value).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => unavailable(limit),
        _ => ExecError::Kernel {
            action: format!("set {} to {:?}", limit.file, limit.value),
            cause,
            hint: String::new(),
        },
    })
}

fn unavailable(limit: &Limit) -> ExecError {
    ExecError::Kernel {
        action: format!("set {} to {:?}", limit.file, limit.value),
        cause: io::Error::other(format!("this machine or container has no such limit in its {} cgroups", limit.controller)),
        hint: "; run the engine as root outside of a restricted container, or the step without the limit".to_owned(),
    }
}

fn failed(dir: &Path, cause: impl Into<io::Error>) -> ExecError {
    ExecError::Kernel {
        action: format!("prepare cgroup {}", dir.display()),
        cause: cause.into(),
        hint: String::new(),
    }
}

/// Makes a directory that may be there.
fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// `oom_kill N` is in v1's memory.oom_control and in v2's memory.events.
fn oom_kills(file: &Path) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
        .unwrap_or(0)
}

/// A name that no other executor has had, of this process or of an earlier one with its number.
fn instance_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_nanos());
    format!("{}-{count}-{now:x}", std::process::id())
}
