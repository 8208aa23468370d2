//! One step in a worker thread: build its view, start its process, wait, clean up.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal};
use rustix::thread::{
    LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags, move_into_link_name_space,
    move_into_thread_name_spaces,
};
use tokio::sync::oneshot;

use super::aside::Aside;
use super::{Settings, Starter};
use crate::cgroup::{Slot, StepCgroup, kill_all};
use crate::kernel::calls;
use crate::usage::StepSample;
use crate::view::hosts::DEFAULT_HOSTNAME;
use crate::{ExecError, ExecRequest, ExitCause, ExitStatus, Network, native, oci};

/// What a worker is given.
pub(crate) struct Step {
    pub(crate) request: ExecRequest,
    pub(crate) place: Place,
    pub(crate) network: Network,
    pub(crate) stdio: Stdio,
    pub(crate) life: Arc<Life>,
    pub(crate) started: oneshot::Sender<Started>,
    pub(crate) usage: Option<oneshot::Sender<Vec<StepSample>>>,
}

/// Which namespaces a process runs in.
pub(crate) enum Place {
    /// Its own.
    Own,
    /// Those of this process.
    In(OwnedFd),
}

/// Where the process's first three descriptors come from.
pub(crate) enum Stdio {
    /// Given.
    Streams([OwnedFd; 3]),
    /// A terminal of the step's own; the other end is sent back.
    Terminal,
}

/// What a running step's owner needs.
pub(crate) struct Started {
    /// The other end of the step's terminal.
    pub(crate) terminal: Option<OwnedFd>,
}

/// Connects the one who cancels with the thread that starts.
#[derive(Debug, Default)]
pub(crate) struct Life {
    cancelled: AtomicBool,
    process: Mutex<Option<Process>>,
}

/// A process that runs, and what must be killed first for it to end.
#[derive(Debug)]
struct Process {
    pidfd: OwnedFd,
    /// cgroups of a container that a runtime watches; empty where the process is the container's first.
    container: Vec<PathBuf>,
}

impl Life {
    /// Kills the step, now or as soon as it runs.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.signal(Signal::KILL);
    }

    /// Sends a signal to the step's process if it runs.
    pub(crate) fn signal(&self, signal: Signal) {
        let process = self.process();
        let Some(process) = &*process else { return };
        if signal == Signal::KILL {
            process.container.iter().for_each(|dir| kill_all(dir));
        }
        let _ = pidfd_send_signal(&process.pidfd, signal);
        if signal == Signal::KILL {
            // What the runtime may have started before it died.
            process.container.iter().for_each(|dir| kill_all(dir));
        }
    }

    /// Tells a runtime that stands between the terminals about a new size.
    pub(crate) fn resized(&self) {
        if let Some(process) = self
            .process()
            .as_ref()
            .filter(|process| !process.container.is_empty())
        {
            let _ = pidfd_send_signal(&process.pidfd, Signal::WINCH);
        }
    }

    /// Whether it is to end, or has.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// From now on the process can be signalled.
    pub(crate) fn begin(&self, process: &OwnedFd, container: Vec<PathBuf>) -> io::Result<()> {
        *self.process() = Some(Process {
            pidfd: process.try_clone()?,
            container,
        });
        if self.is_cancelled() {
            self.signal(Signal::KILL);
        }
        Ok(())
    }

    /// Another descriptor of the process if it runs.
    pub(crate) fn duplicate(&self) -> Option<OwnedFd> {
        self.process().as_ref()?.pidfd.try_clone().ok()
    }

    /// The process is gone.
    pub(crate) fn end(&self) {
        *self.process() = None;
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be removed or put right once a step's mounts are gone.
#[derive(Default)]
pub(crate) struct Leftovers {
    pub(crate) cgroup: Option<StepCgroup>,
    pub(crate) aside: Option<Aside>,
}

/// A step whose process is gone, while its mounts may still be there.
pub(super) struct Ended {
    result: Result<ExitStatus, ExecError>,
    leftovers: Leftovers,
}

impl Ended {
    /// Removes what is left, once the mounts are gone.
    pub(super) fn finish(self) -> Result<ExitStatus, ExecError> {
        if let Some(aside) = self.leftovers.aside {
            aside.restore();
        }
        let mut result = self.result;
        if let (Ok(status), Some(cgroup)) = (&mut result, &self.leftovers.cgroup)
            && !status.success()
            && cgroup.ran_out_of_memory()
        {
            status.cause = ExitCause::OutOfMemory;
        }
        result
    }
}

/// Moves the calling thread into the step's namespaces, where nothing it mounts is seen from outside.
pub(super) fn enter(settings: &Settings, step: &Step) -> Result<(), ExecError> {
    if let Place::In(process) = &step.place {
        return join(process);
    }
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    let mut flags = UnshareFlags::NEWNS;
    if let Starter::Kernel = settings.starter {
        flags |= UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
        flags.set(UnshareFlags::NEWNET, step.network == Network::None);
    }
    calls::unshare(flags).map_err(|error| kernel("make namespaces", error))?;
    rustix::mount::mount_change("/", private)
        .map_err(|error| kernel("make mounts private", error))?;
    if let Starter::Runtime(_) = settings.starter {
        if let Some(beside) = settings.cgroups.beside() {
            let _ = rustix::mount::unmount(beside, UnmountFlags::DETACH);
        }
        return Ok(());
    }
    let hostname = hostname(&step.request);
    rustix::system::sethostname(hostname.as_bytes())
        .map_err(|error| kernel(&format!("set the host name to {hostname:?}"), error))?;
    match &step.network {
        Network::None => {
            calls::loopback_up().map_err(|error| kernel("bring up the loopback interface", error))
        }
        Network::Joined(namespace) => {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|error| kernel("join the step's network namespace", error))
        }
        Network::Host | Network::Sandbox => Ok(()),
    }
}

/// Moves the calling thread, and what it starts, into the namespaces of a process.
fn join(process: &OwnedFd) -> Result<(), ExecError> {
    let all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::PROCESS_ID;
    move_into_thread_name_spaces(process.as_fd(), all)
        .map_err(|error| kernel("join the container's namespaces", error))
}

/// What the step is called.
pub(crate) fn hostname(request: &ExecRequest) -> &str {
    if request.hostname.is_empty() {
        DEFAULT_HOSTNAME
    } else {
        &request.hostname
    }
}

/// Runs the step in the namespaces that the thread is in.
pub(super) fn run(settings: &Settings, step: Step, slot: Option<&Slot>) -> Ended {
    let mut leftovers = Leftovers::default();
    let result = match &settings.starter {
        Starter::Kernel if matches!(step.place, Place::In(_)) => {
            native::join_and_wait(settings, step, slot, &mut leftovers)
        }
        Starter::Kernel => native::start_and_wait(settings, step, slot, &mut leftovers),
        Starter::Runtime(runtime) => oci::start_and_wait(runtime, settings, step, &mut leftovers),
    };
    Ended { result, leftovers }
}

/// Waits for the end of a process started by the calling thread.
pub(crate) fn wait(process: &OwnedFd) -> io::Result<ExitStatus> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED) {
            Err(rustix::io::Errno::INTR) | Ok(None) => {}
            Err(error) => return Err(error.into()),
            Ok(Some(status)) => {
                let unsigned = |number: i32| u32::try_from(number).unwrap_or(255);
                return Ok(match status.terminating_signal() {
                    Some(signal) => ExitStatus {
                        code: 128 + unsigned(signal),
                        cause: ExitCause::Signal(signal),
                    },
                    None => {
                        let code = status.exit_status().map_or(255, unsigned);
                        ExitStatus {
                            code,
                            cause: ExitCause::Exited,
                        }
                    }
                });
            }
        }
    }
}

/// A refusal of the kernel, with advice where the reason is known.
pub(crate) fn kernel(action: &str, error: impl Into<io::Error>) -> ExecError {
    let cause = error.into();
    let hint = privilege_hint(&cause);
    ExecError::Kernel {
        action: action.to_owned(),
        cause,
        hint,
    }
}

/// Advice about a refusal that comes from missing rights.
fn privilege_hint(error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied || rustix::process::geteuid().is_root() {
        return String::new();
    }
    "; run as root, or enter a user namespace first (kiln_executor::rootless)".to_owned()
}
