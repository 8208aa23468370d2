//! Starting a step's process: a vfork-style clone straight into its namespaces.
//!
//! The child shares the engine's memory until it executes the program, and other threads go on meanwhile.
//! So from the clone on it only makes system calls: everything they need was put into the [`Plan`] before,
//! nothing allocates, locks or panics, and what goes wrong is left in an atomic for the parent to read.
#![allow(unsafe_code)]

use std::convert::Infallible;
use std::ffi::{CString, c_char, c_void};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Timespec;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::{Gid, Resource, Rlimit, Uid, WaitId, WaitIdOptions};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};

use crate::capability::Capabilities;
use crate::seccomp::Instruction;

use super::calls::{default_signals, install_filter, last_errno, set_signal_mask};

/// Everything the child needs. The calling thread must already be in the step's other namespaces, with the
/// step's root filesystem as its root directory.
pub(crate) struct Plan {
    /// Whether the child is the first of a process namespace.
    pub(crate) processes: ProcessNamespace,
    /// The root directory that the step must not see, to be unmounted.
    pub(crate) old_root: Option<OwnedFd>,
    /// cgroup v2 directory that the child is born in.
    pub(crate) into_cgroup: Option<OwnedFd>,
    /// `tasks` files of cgroup v1 that the child writes itself into.
    pub(crate) join_cgroups: Vec<OwnedFd>,
    /// Whether the child sees its cgroup as the root, and how that is mounted on `/sys/fs/cgroup`.
    pub(crate) cgroup_view: Option<MountFlags>,
    pub(crate) masked: Vec<CString>,
    pub(crate) read_only: Vec<CString>,
    pub(crate) stdio: [OwnedFd; 3],
    pub(crate) controlling_terminal: ControllingTerminal,
    pub(crate) rlimits: Vec<(Resource, Rlimit)>,
    pub(crate) cwd: CString,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    /// Nothing where the user namespace forbids to set groups.
    pub(crate) groups: Option<Vec<Gid>>,
    /// Single capabilities to be taken out of the bounding set.
    pub(crate) dropped: Vec<CapabilitySet>,
    pub(crate) capabilities: Capabilities,
    pub(crate) filter: Option<&'static [Instruction]>,
    /// A descriptor of this process: readable once it is dead.
    pub(crate) engine: OwnedFd,
    /// Paths to try, in order.
    pub(crate) programs: Vec<CString>,
    pub(crate) args: Vec<CString>,
    pub(crate) env: Vec<CString>,
}

/// Where the child's process namespace comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessNamespace {
    /// It is made for the child, which mounts `/proc` for it.
    New,
    /// The calling thread has joined it.
    Joined,
}

/// Whether standard input is a terminal to be made the session's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ControllingTerminal {
    None,
    Stdin,
}

impl Plan {
    /// The same for a process whose namespaces are there already, with all that is mounted in them.
    pub(crate) fn joined(self) -> Plan {
        Plan {
            processes: ProcessNamespace::Joined,
            old_root: None,
            cgroup_view: None,
            masked: Vec::new(),
            read_only: Vec::new(),
            ..self
        }
    }
}

/// What the child was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Stage {
    Clone,
    JoinCgroup,
    CgroupNamespace,
    MountProc,
    MountCgroup,
    LeaveRoot,
    MaskPath,
    ReadOnlyPath,
    Session,
    Rlimit,
    Stdio,
    WorkingDirectory,
    Seccomp,
    Bounding,
    Groups,
    User,
    Capabilities,
    EngineGone,
    Exec,
}

const STAGES: [Stage; 19] = [
    Stage::Clone,
    Stage::JoinCgroup,
    Stage::CgroupNamespace,
    Stage::MountProc,
    Stage::MountCgroup,
    Stage::LeaveRoot,
    Stage::MaskPath,
    Stage::ReadOnlyPath,
    Stage::Session,
    Stage::Rlimit,
    Stage::Stdio,
    Stage::WorkingDirectory,
    Stage::Seccomp,
    Stage::Bounding,
    Stage::Groups,
    Stage::User,
    Stage::Capabilities,
    Stage::EngineGone,
    Stage::Exec,
];

/// A failed start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpawnError {
    pub(crate) stage: Stage,
    pub(crate) errno: Errno,
}

/// `struct clone_args`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What the child reads and writes.
struct Shared<'a> {
    plan: &'a Plan,
    args: *const *const c_char,
    env: *const *const c_char,
    stage: AtomicU32,
    errno: AtomicI32,
}

/// Starts the step's process; returns its process descriptor once it executes its program.
///
/// The process is killed when the calling thread ends, so the caller waits for it.
pub(crate) fn spawn(plan: &Plan) -> Result<OwnedFd, SpawnError> {
    let args = pointers(&plan.args);
    let env = pointers(&plan.env);
    let shared = Shared {
        plan,
        args: args.as_ptr(),
        env: env.as_ptr(),
        stage: AtomicU32::new(Stage::Clone as u32),
        errno: AtomicI32::new(0),
    };
    let mut pidfd: i32 = -1;
    let own = match plan.processes {
        ProcessNamespace::New => libc::CLONE_NEWPID,
        ProcessNamespace::Joined => 0,
    };
    let mut flags = (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | own)
        .cast_unsigned()
        .into();
    let mut cgroup = 0;
    if let Some(fd) = &plan.into_cgroup {
        flags |= CLONE_INTO_CGROUP;
        cgroup = u64::from(fd.as_raw_fd().cast_unsigned());
    }
    let clone = CloneArgs {
        flags,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD.cast_unsigned().into(),
        cgroup,
        ..CloneArgs::default()
    };

    // No signal handler may run in the child: it would run on the engine's memory.
    let old = set_signal_mask(u64::MAX);
    // SAFETY: `clone` asks for a vfork-style child; `shared` lives until the call returns, which is when the
    // child has executed its program or is gone; `child` never returns.
    let result = unsafe { vfork_into(&clone, child, (&raw const shared).cast_mut().cast()) };
    set_signal_mask(old);

    if result < 0 {
        let errno = Errno::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EINVAL));
        return Err(SpawnError {
            stage: Stage::Clone,
            errno,
        });
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    match shared.errno.load(Ordering::Acquire) {
        0 => Ok(pidfd),
        errno => {
            let _ = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            let stage = usize::try_from(shared.stage.load(Ordering::Acquire))
                .ok()
                .and_then(|at| STAGES.get(at));
            Err(SpawnError {
                stage: stage.copied().unwrap_or(Stage::Clone),
                errno: Errno::from_raw_os_error(errno),
            })
        }
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// Calls clone3 and, in the child, `entry(argument)` on the caller's stack.
///
/// The branch is taken inside the assembly, so that no compiled code runs twice from one frame. The child's
/// calls only write below the stack pointer, where the suspended parent has nothing.
///
/// # Safety
///
/// `clone` must have CLONE_VM and CLONE_VFORK and no stack, and `entry` must never return.
unsafe fn vfork_into(
    clone: &CloneArgs,
    entry: extern "C" fn(*mut c_void) -> !,
    argument: *mut c_void,
) -> isize {
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: see above; all registers that the kernel changes are declared.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov rdi, {argument}",
            "and rsp, -16",
            "call {entry}",
            "ud2",
            "2:",
            argument = in(reg) argument,
            entry = in(reg) entry,
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") ptr::from_ref(clone),
            in("rsi") size_of::<CloneArgs>(),
            out("rcx") _,
            out("r11") _,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: see above; all registers that the kernel changes are declared.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x0, {argument}",
            "blr {entry}",
            "brk 1",
            "2:",
            argument = in(reg) argument,
            entry = in(reg) entry,
            in("x8") libc::SYS_clone3,
            inlateout("x0") ptr::from_ref(clone) => result,
            in("x1") size_of::<CloneArgs>(),
        );
    }
    result
}

/// The child's life.
extern "C" fn child(argument: *mut c_void) -> ! {
    // SAFETY: `spawn` passes a pointer to its `Shared`, which outlives the child's use of this memory.
    let shared = unsafe { &*argument.cast::<Shared<'_>>() };
    let Err(errno) = stages(shared);
    shared.errno.store(errno.raw_os_error(), Ordering::Release);
    loop {
        // SAFETY: ends this process.
        unsafe { libc::syscall(libc::SYS_exit_group, 1) };
    }
}

fn stages(shared: &Shared<'_>) -> Result<Infallible, Errno> {
    let plan = shared.plan;
    let stage = |stage: Stage| shared.stage.store(stage as u32, Ordering::Release);

    stage(Stage::JoinCgroup);
    for file in &plan.join_cgroups {
        rustix::io::write(file, b"0")?;
    }
    if let Some(flags) = plan.cgroup_view {
        stage(Stage::CgroupNamespace);
        super::calls::unshare(UnshareFlags::NEWCGROUP)?;
        stage(Stage::MountCgroup);
        rustix::mount::mount(c"cgroup", c"/sys/fs/cgroup", c"cgroup2", flags, c"")?;
    }
    let sealed = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    if plan.processes == ProcessNamespace::New {
        stage(Stage::MountProc);
        rustix::mount::mount(c"proc", c"/proc", c"proc", sealed, c"")?;
    }
    stage(Stage::LeaveRoot);
    if let Some(root) = &plan.old_root {
        rustix::process::fchdir(root)?;
        rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
        rustix::process::chdir(c"/")?;
    }
    stage(Stage::MaskPath);
    mask(&plan.masked)?;
    stage(Stage::ReadOnlyPath);
    for path in &plan.read_only {
        match rustix::mount::mount_bind_recursive(path.as_c_str(), path.as_c_str()) {
            Err(Errno::NOENT) => continue,
            other => other?,
        }
        let flags = MountFlags::BIND | MountFlags::RDONLY | sealed;
        rustix::mount::mount_remount(path.as_c_str(), flags, c"")?;
    }

    stage(Stage::Session);
    // A session keyring of its own; where there can be none the engine's is out of reach by seccomp.
    // SAFETY: takes no pointers but null.
    unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_JOIN_SESSION_KEYRING,
            ptr::null::<c_char>(),
        )
    };
    rustix::process::setsid()?;
    stage(Stage::Stdio);
    let [stdin, stdout, stderr] = &plan.stdio;
    rustix::stdio::dup2_stdin(stdin)?;
    rustix::stdio::dup2_stdout(stdout)?;
    rustix::stdio::dup2_stderr(stderr)?;
    if plan.controlling_terminal == ControllingTerminal::Stdin {
        rustix::process::ioctl_tiocsctty(stdin)?;
    }
    stage(Stage::Rlimit);
    for (resource, limit) in &plan.rlimits {
        rustix::process::setrlimit(*resource, *limit)?;
    }
    stage(Stage::WorkingDirectory);
    rustix::process::chdir(plan.cwd.as_c_str())?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));

    // The filter goes in while there are capabilities: without them the kernel wants no_new_privs, which
    // would break setuid programs. It lets everything below through.
    stage(Stage::Seccomp);
    if let Some(filter) = plan.filter {
        install_filter(filter)?;
    }
    become_user(plan, stage)?;
    default_signals();
    // After the ids, because changing them clears it. Who died before cannot signal any more.
    stage(Stage::EngineGone);
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    if poll(&mut [PollFd::new(&plan.engine, PollFlags::IN)], Some(&now))? != 0 {
        return Err(Errno::SRCH);
    }

    stage(Stage::Exec);
    // SAFETY: marks descriptors of this process, which has a table of its own, to be closed.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    set_signal_mask(0);
    Err(execute(shared))
}

/// Covers files by `/dev/null` and directories by an empty, read-only tmpfs. The first failure of a path
/// that exists counts.
fn mask(paths: &[CString]) -> Result<(), Errno> {
    for path in paths {
        match rustix::mount::mount_bind(c"/dev/null", path.as_c_str()) {
            Err(Errno::NOTDIR) => {
                rustix::mount::mount(c"tmpfs", path.as_c_str(), c"tmpfs", MountFlags::RDONLY, c"")?;
            }
            Err(Errno::NOENT)
                if rustix::fs::access(path.as_c_str(), rustix::fs::Access::EXISTS).is_err() => {}
            other => other?,
        }
    }
    Ok(())
}

fn become_user(plan: &Plan, stage: impl Fn(Stage)) -> Result<(), Errno> {
    stage(Stage::Bounding);
    for capability in &plan.dropped {
        rustix::thread::remove_capability_from_bounding_set(*capability)?;
    }
    rustix::thread::set_keep_capabilities(true)?;
    stage(Stage::Groups);
    if let Some(groups) = &plan.groups {
        rustix::thread::set_thread_groups(groups)?;
    }
    stage(Stage::User);
    rustix::thread::set_thread_res_gid(plan.gid, plan.gid, plan.gid)?;
    rustix::thread::set_thread_res_uid(plan.uid, plan.uid, plan.uid)?;
    rustix::thread::set_keep_capabilities(false)?;
    stage(Stage::Capabilities);
    let Capabilities { granted, inherited } = plan.capabilities;
    let sets = CapabilitySets {
        effective: granted,
        permitted: granted,
        inheritable: inherited,
    };
    rustix::thread::set_capabilities(None, sets)?;
    for capability in crate::capability::each().filter(|capability| inherited.contains(*capability))
    {
        rustix::thread::configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// Tries the programs as a shell does: what may not be executed is worse than what is not there.
fn execute(shared: &Shared<'_>) -> Errno {
    let mut worst = Errno::NOENT;
    for program in &shared.plan.programs {
        // SAFETY: all three point to NUL-terminated data that lives as long as `shared`.
        unsafe { libc::execve(program.as_ptr(), shared.args, shared.env) };
        match last_errno() {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => worst = Errno::ACCESS,
            other => return other,
        }
    }
    worst
}
