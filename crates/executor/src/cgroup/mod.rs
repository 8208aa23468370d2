//! cgroups of steps: device rules, limits, and the knowledge that something ran out of memory.

mod ebpf;
mod instance;
mod layout;
mod limits;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, Mode, OFlags};

use crate::view::devices::{self, Rule};
use crate::{Device, ExecError, ExecRequest, Resources, Security};
use instance::{Instance, sweep};
pub(crate) use instance::{kill_all, remove_tree};
use layout::{Hierarchy, Layout};
use limits::Limit;

/// v2 controllers that are enabled where possible.
const CONTROLLERS: [&str; 4] = ["memory", "cpu", "cpuset", "pids"];

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
    kind: Version,
    beside: Option<PathBuf>,
}

#[derive(Debug)]
enum Version {
    V2(Hierarchy, Instance),
    V1(Vec<(Hierarchy, Instance)>),
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

/// A step's cgroup. Removed on drop.
#[derive(Debug, Default)]
pub(crate) struct StepCgroup {
    /// v2 directory to be born in.
    pub(crate) into: Option<OwnedFd>,
    /// v1 files to write oneself into.
    pub(crate) join: Vec<OwnedFd>,
    /// Directories to show at `/sys/fs/cgroup`: name there and path on the host (v1).
    pub(crate) shown: Vec<(String, PathBuf)>,
    memory: Option<OomCounter>,
    /// Directories that are the step's alone.
    pub(crate) made: Vec<PathBuf>,
}

/// Reads how often the kernel has killed for lack of memory.
#[derive(Debug, Clone)]
struct OomCounter {
    file: PathBuf,
    before: u64,
}

/// v1 directories that a worker thread stays in, so that the steps it starts are born there: moving a
/// process costs milliseconds on a quiet machine.
#[derive(Debug)]
pub(crate) struct Slot {
    memory: Option<PathBuf>,
    tasks: Vec<PathBuf>,
    leave: Vec<PathBuf>,
}

impl Cgroups {
    /// Looks at the machine, removes what dead engines left, and makes this one's directories.
    pub(crate) fn new(base: &Base) -> Cgroups {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{count}-{:x}", std::process::id(), started());
        let layout = layout::detect();
        let beside = match &layout {
            Ok(Layout::V1(_, beside)) => beside.clone(),
            _ => None,
        };
        let kind = layout.and_then(|layout| Version::new(layout, base, &name)).unwrap_or_else(|error| {
            tracing::warn!(%error, "no cgroups: steps run without limits and cannot use devices");
            Version::None
        });
        Cgroups { kind, beside }
    }

    /// Where a runtime is to make the cgroup of the step `id`: the path from the root, and the directories
    /// that it will be in.
    pub(crate) fn runtime_step(&self, id: &str) -> (Option<String>, StepCgroup) {
        let instances: Vec<(&Instance, &Path)> = match &self.kind {
            Version::V2(hierarchy, instance) => vec![(instance, hierarchy.mount.as_path())],
            Version::V1(hierarchies) => hierarchies
                .iter()
                .map(|(h, i)| (i, h.mount.as_path()))
                .collect(),
            Version::None => Vec::new(),
        };
        let mut step = StepCgroup::default();
        step.made = instances
            .iter()
            .map(|(instance, _)| instance.dir.join(id))
            .collect();
        let memory = match &self.kind {
            Version::V2(..) => step.made.first().map(|dir| dir.join("memory.events")),
            Version::V1(hierarchies) => hierarchies
                .iter()
                .find(|(hierarchy, _)| hierarchy.has("memory"))
                .map(|(_, instance)| instance.dir.join(id).join("memory.oom_control")),
            Version::None => None,
        };
        step.memory = memory.map(|file| OomCounter { file, before: 0 });
        let first = instances
            .first()
            .and_then(|(instance, mount)| instance.dir.strip_prefix(mount).ok());
        (first.map(|dir| format!("/{}/{id}", dir.display())), step)
    }

    /// Where a cgroup v2 tree is mounted beside those of v1, which some runtimes cannot stand.
    pub(crate) fn beside(&self) -> Option<&Path> {
        self.beside.as_deref()
    }

    /// Whether device access of steps can be restricted.
    pub(crate) fn controls_devices(&self) -> bool {
        match &self.kind {
            Version::V2(..) => true,
            Version::V1(hierarchies) => hierarchies
                .iter()
                .any(|(hierarchy, _)| hierarchy.has("devices")),
            Version::None => false,
        }
    }

    /// Whether steps see a cgroup v2 tree.
    pub(crate) fn is_unified(&self) -> bool {
        matches!(self.kind, Version::V2(..))
    }

    /// Directories for a worker thread that runs one ordinary step after the other; none are needed on v2.
    pub(crate) fn slot(&self, number: usize) -> io::Result<Option<Slot>> {
        let Version::V1(hierarchies) = &self.kind else {
            return Ok(None);
        };
        let mut slot = Slot {
            memory: None,
            tasks: Vec::new(),
            leave: Vec::new(),
        };
        for (hierarchy, instance) in hierarchies {
            let dir = if hierarchy.has("devices") {
                sandbox_devices(&instance.dir)?
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
        Ok(Some(slot))
    }

    /// The cgroup of one step, started from a thread in `slot`.
    pub(crate) fn step(
        &self,
        wanted: Wanted<'_>,
        slot: Option<&Slot>,
    ) -> Result<StepCgroup, ExecError> {
        match &self.kind {
            Version::V2(_, instance) => v2_step(instance, wanted),
            Version::V1(hierarchies) => v1_step(hierarchies, wanted, slot),
            Version::None => match limits::v2(wanted.resources).first() {
                Some(limit) => Err(unavailable(limit)),
                None => Ok(StepCgroup::default()),
            },
        }
    }
}

impl Version {
    fn new(layout: Layout, base: &Base, name: &str) -> io::Result<Version> {
        match layout {
            Layout::V1(hierarchies, _) => {
                let mut instances = Vec::new();
                for hierarchy in hierarchies {
                    let base = base_dir(base, &hierarchy);
                    sweep(&base);
                    let instance = Instance::create(&base, name)?;
                    instances.push((hierarchy, instance));
                }
                Ok(Version::V1(instances))
            }
            Layout::V2(hierarchy) => {
                let wanted = base_dir(base, &hierarchy);
                // A cgroup with processes of its own cannot hand controllers down, except the root.
                let base = if enable_controllers(&wanted) || *base != Base::Own {
                    wanted
                } else {
                    hierarchy.mount.clone()
                };
                sweep(&base);
                enable_controllers(&base);
                let instance = Instance::create(&base, name)?;
                for dir in [base.join(instance::PARENT), instance.dir.clone()] {
                    enable_controllers(&dir);
                }
                for (group, security) in [
                    ("sandbox", Security::Sandbox),
                    ("insecure", Security::Insecure),
                ] {
                    let dir = instance.dir.join(group);
                    make_dir(&dir)?;
                    enable_controllers(&dir);
                    restrict_devices(
                        &dir,
                        &devices::rules(security, &[]).map_err(io::Error::other)?,
                    )?;
                }
                Ok(Version::V2(hierarchy, instance))
            }
            Layout::None => Err(io::Error::other("no cgroup file system is mounted")),
        }
    }
}

impl StepCgroup {
    /// Whether the kernel has killed something in the step for lack of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.memory
            .as_ref()
            .is_some_and(|counter| read_oom_kills(&counter.file) > counter.before)
    }
}

impl Drop for StepCgroup {
    fn drop(&mut self) {
        for dir in &self.made {
            remove_tree(dir);
        }
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

impl OomCounter {
    fn new(file: PathBuf) -> OomCounter {
        OomCounter {
            before: read_oom_kills(&file),
            file,
        }
    }
}

fn v2_step(instance: &Instance, wanted: Wanted<'_>) -> Result<StepCgroup, ExecError> {
    let custom = !wanted.devices.is_empty();
    let group = if wanted.security == Security::Insecure || custom {
        "insecure"
    } else {
        "sandbox"
    };
    let dir = instance.dir.join(group).join(wanted.id);
    let mut step = StepCgroup::default();
    step.memory = Some(OomCounter::new(dir.join("memory.events")));
    make_dir(&dir).map_err(|source| failed(&dir, source))?;
    step.made.push(dir.clone());
    if custom {
        let rules = devices::rules(wanted.security, wanted.devices)?;
        restrict_devices(&dir, &rules).map_err(|source| failed(&dir, source))?;
    }
    for limit in limits::v2(wanted.resources) {
        set(&dir, &limit)?;
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    step.into = Some(
        rustix::fs::openat(CWD, &dir, flags, Mode::empty())
            .map_err(|error| failed(&dir, error.into()))?,
    );
    Ok(step)
}

fn v1_step(
    hierarchies: &[(Hierarchy, Instance)],
    wanted: Wanted<'_>,
    slot: Option<&Slot>,
) -> Result<StepCgroup, ExecError> {
    let limits = limits::v1(wanted.resources);
    let mut step = StepCgroup::default();
    if let Some(limit) = limits
        .iter()
        .find(|limit| !hierarchies.iter().any(|(h, _)| h.has(limit.controller)))
    {
        return Err(unavailable(limit));
    }
    for (hierarchy, instance) in hierarchies {
        let own: Vec<&Limit> = limits
            .iter()
            .filter(|limit| hierarchy.has(limit.controller))
            .collect();
        let special = hierarchy.has("devices")
            && (wanted.security == Security::Insecure || !wanted.devices.is_empty());
        let slot_memory = slot
            .and_then(|slot| slot.memory.clone())
            .filter(|_| hierarchy.has("memory"));
        let dir =
            if !own.is_empty() || special || (hierarchy.has("memory") && slot_memory.is_none()) {
                let dir = instance.dir.join(wanted.id);
                make_dir(&dir).map_err(|source| failed(&dir, source))?;
                step.made.push(dir.clone());
                if hierarchy.has("cpuset") {
                    inherit_cpuset(&dir, hierarchy).map_err(|source| failed(&dir, source))?;
                }
                if special {
                    let rules = devices::rules(wanted.security, wanted.devices)?;
                    write_device_rules(&dir, &rules).map_err(|source| failed(&dir, source))?;
                }
                for limit in own {
                    set(&dir, limit)?;
                }
                step.join
                    .push(open_tasks(&dir).map_err(|source| failed(&dir, source))?);
                dir
            } else if hierarchy.has("devices") && slot.is_none() {
                let dir = sandbox_devices(&instance.dir)
                    .map_err(|source| failed(&instance.dir, source))?;
                step.join
                    .push(open_tasks(&dir).map_err(|source| failed(&dir, source))?);
                dir
            } else {
                slot_memory.unwrap_or_else(|| instance.dir.clone())
            };
        if hierarchy.has("memory") {
            step.memory = Some(OomCounter::new(dir.join("memory.oom_control")));
        }
        if let Some(name) = hierarchy.mount.file_name() {
            step.shown.push((name.to_string_lossy().into_owned(), dir));
        }
    }
    Ok(step)
}

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

/// The v1 device cgroup that all sandboxed steps of an instance share.
fn sandbox_devices(instance: &Path) -> io::Result<PathBuf> {
    let dir = instance.join("sandbox");
    match fs::create_dir(&dir) {
        Ok(()) => write_device_rules(
            &dir,
            &devices::rules(Security::Sandbox, &[]).map_err(io::Error::other)?,
        )?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    Ok(dir)
}

fn write_device_rules(dir: &Path, rules: &[Rule]) -> io::Result<()> {
    fs::write(dir.join("devices.deny"), "a")?;
    for rule in rules {
        let number =
            |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        let kind = match rule.kind {
            devices::Kind::Character => "c",
            devices::Kind::Block => "b",
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

fn restrict_devices(dir: &Path, rules: &[Rule]) -> io::Result<()> {
    let program = crate::kernel::calls::load_device_program(&ebpf::program(rules))?;
    crate::kernel::calls::attach_device_program(program, fs::File::open(dir)?)
}

/// A v1 cpuset is unusable until both of its files are filled.
fn inherit_cpuset(dir: &Path, hierarchy: &Hierarchy) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let inherited = fs::read_to_string(hierarchy.own.join(file))?;
        for ancestor in [dir.parent().and_then(Path::parent), dir.parent(), Some(dir)]
            .into_iter()
            .flatten()
        {
            if fs::read_to_string(ancestor.join(file))?.trim().is_empty() {
                fs::write(ancestor.join(file), inherited.trim())?;
            }
        }
    }
    Ok(())
}

/// Hands the controllers we use down from `dir`; whether it has what matters most.
fn enable_controllers(dir: &Path) -> bool {
    for controller in CONTROLLERS {
        let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
    }
    fs::read_to_string(dir.join("cgroup.subtree_control")).is_ok_and(|enabled| {
        enabled
            .split_whitespace()
            .any(|controller| controller == "memory")
    })
}

fn set(dir: &Path, limit: &Limit) -> Result<(), ExecError> {
    fs::write(dir.join(limit.file), &limit.value).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => unavailable(limit),
        _ => ExecError::Kernel {
            action: format!("set {} to {:?}", limit.file, limit.value),
            cause: source,
            hint: String::new(),
        },
    })
}

fn unavailable(limit: &Limit) -> ExecError {
    ExecError::Kernel {
        action: format!("set {} to {:?}", limit.file, limit.value),
        cause: io::Error::other(format!(
            "the {} cgroup controller is not available here",
            limit.controller
        )),
        hint: "; run as root outside of a restricted container, or without the limit".to_owned(),
    }
}

fn failed(dir: &Path, source: io::Error) -> ExecError {
    ExecError::Kernel {
        action: format!("prepare cgroup {}", dir.display()),
        cause: source,
        hint: String::new(),
    }
}

fn open_tasks(dir: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(
        CWD,
        dir.join("tasks"),
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// `oom_kill N` is in v1's memory.oom_control and in v2's memory.events.
fn read_oom_kills(file: &Path) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
        .unwrap_or(0)
}

/// Something that no earlier process with this one's number had.
fn started() -> u128 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.as_nanos())
}
