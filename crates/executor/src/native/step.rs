//! One step in a worker thread: build its view, start its process, wait, clean up.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::mount::MountPropagationFlags;
use rustix::process::{DumpableBehavior, Signal, WaitId, WaitIdOptions, pidfd_send_signal};
use rustix::thread::UnshareFlags;
use tokio::sync::oneshot;

use super::{Settings, assemble, plan};
use crate::cgroup::{Slot, StepCgroup, Wanted};
use crate::kernel::{calls, spawn};
use crate::view::hosts::DEFAULT_HOSTNAME;
use crate::view::root::Root;
use crate::view::stubs::Stubs;
use crate::{ExecError, ExecRequest, ExitCause, ExitStatus, Network};

/// What a worker is given.
pub(super) struct Step {
    pub(super) request: ExecRequest,
    pub(super) network: Network,
    pub(super) stdio: Stdio,
    pub(super) life: Arc<Life>,
    pub(super) started: oneshot::Sender<Started>,
}

/// Where the process's first three descriptors come from.
pub(super) enum Stdio {
    /// Given.
    Streams([OwnedFd; 3]),
    /// A terminal of the step's own; the other end is sent back.
    Terminal,
}

/// What a running step's owner needs.
pub(super) struct Started {
    /// The other end of the step's terminal.
    pub(super) terminal: Option<OwnedFd>,
}

/// Connects the one who cancels with the thread that starts.
#[derive(Debug, Default)]
pub(super) struct Life {
    cancelled: AtomicBool,
    process: Mutex<Option<OwnedFd>>,
}

impl Life {
    /// Kills the process, now or as soon as there is one. Everything in its process namespace dies with it.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.signal(Signal::KILL);
    }

    /// Sends a signal to the process if it runs.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(process) = &*self.process.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = pidfd_send_signal(process, signal);
        }
    }

    fn begin(&self, process: &OwnedFd) -> io::Result<()> {
        let process = process.try_clone()?;
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        if self.is_cancelled() {
            self.signal(Signal::KILL);
        }
        Ok(())
    }

    fn end(&self) {
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether it is to end, or has.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }
}

/// A step whose process is gone, while its mounts may still be there.
#[derive(Default)]
pub(super) struct Ended {
    result: Option<Result<ExitStatus, ExecError>>,
    cgroup: Option<StepCgroup>,
    stubs: Option<(Stubs, Root)>,
}

impl Ended {
    /// Removes what is left, once the mounts are gone.
    pub(super) fn finish(self) -> Result<ExitStatus, ExecError> {
        if let Some((stubs, root)) = self.stubs {
            stubs.remove(&root);
        }
        let mut result = self.result.unwrap_or(Err(ExecError::Cancelled));
        if let (Ok(status), Some(cgroup)) = (&mut result, &self.cgroup) {
            if !status.success() && cgroup.ran_out_of_memory() {
                status.cause = ExitCause::OutOfMemory;
            }
        }
        result
    }
}

/// Moves the calling thread into the step's namespaces, where nothing it mounts is seen from outside.
pub(super) fn enter(step: &Step) -> Result<(), ExecError> {
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
    flags.set(UnshareFlags::NEWNET, step.network == Network::None);
    calls::unshare(flags).map_err(|error| kernel("make namespaces", error))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private)
        .map_err(|error| kernel("make mounts private", error))?;
    let hostname = Some(step.request.hostname.as_str())
        .filter(|name| !name.is_empty())
        .unwrap_or(DEFAULT_HOSTNAME);
    rustix::system::sethostname(hostname.as_bytes())
        .map_err(|error| kernel(&format!("set the host name to {hostname:?}"), error))?;
    if step.network == Network::None {
        calls::loopback_up().map_err(|error| kernel("bring up the loopback interface", error))?;
    }
    Ok(())
}

/// Runs the step in the namespaces that the thread is in.
pub(super) fn run(settings: &Settings, step: Step, slot: Option<&Slot>) -> Ended {
    let mut ended = Ended::default();
    ended.result = Some(start_and_wait(settings, step, slot, &mut ended));
    ended
}

fn start_and_wait(
    settings: &Settings,
    step: Step,
    slot: Option<&Slot>,
    ended: &mut Ended,
) -> Result<ExitStatus, ExecError> {
    let Step {
        request,
        network,
        stdio,
        life,
        started,
    } = step;
    let cgroup = ended.cgroup.insert(settings.cgroups.step(
        Wanted {
            id: &request.id,
            security: request.security,
            resources: &request.resources,
            devices: &request.devices,
        },
        slot,
    )?);
    let view = assemble::assemble(settings, &request, network, &cgroup.shown, &mut ended.stubs)?;
    let (stdio, terminal) = match stdio {
        Stdio::Streams(streams) => (plan::Streams::Given(streams), None),
        Stdio::Terminal => {
            let (master, streams) = assemble::terminal(&view)?;
            (plan::Streams::Terminal(streams), Some(master))
        }
    };
    assemble::enter_root(&view)?;
    let plan = plan::plan(settings, &request, &view, cgroup, stdio)?;
    if life.is_cancelled() {
        return Err(ExecError::Cancelled);
    }

    let process = spawn::spawn(&plan).map_err(|error| plan::explain(error, &request));
    // Changing ids in memory that the child shares has cost this process its right to look at itself.
    if settings.dumpable == DumpableBehavior::Dumpable {
        let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable);
    }
    let process = process?;
    drop(plan);
    let begun = life.begin(&process);
    if begun.is_err() {
        let _ = pidfd_send_signal(&process, Signal::KILL);
    }
    let _ = started.send(Started { terminal });

    let status = wait(&process);
    life.end();
    begun.map_err(|error| kernel("watch the process", error))?;
    if life.is_cancelled() {
        return Err(ExecError::Cancelled);
    }
    status.map_err(|error| kernel("wait for the process", error))
}

fn wait(process: &OwnedFd) -> io::Result<ExitStatus> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED) {
            Err(rustix::io::Errno::INTR) | Ok(None) => {}
            Err(error) => return Err(error.into()),
            Ok(Some(status)) => {
                let unsigned =
                    |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
                return Ok(match status.terminating_signal() {
                    Some(signal) => ExitStatus {
                        code: 128 + unsigned(Some(signal)).unwrap_or_default(),
                        cause: ExitCause::Signal(signal),
                    },
                    None => ExitStatus {
                        code: unsigned(status.exit_status()).unwrap_or(255),
                        cause: ExitCause::Exited,
                    },
                });
            }
        }
    }
}

/// A refusal of the kernel, with advice where the reason is known.
pub(super) fn kernel(action: &str, error: impl Into<io::Error>) -> ExecError {
    let cause = error.into();
    let hint = super::privilege_hint(&cause);
    ExecError::Kernel {
        action: action.to_owned(),
        cause,
        hint,
    }
}
