//! Starting a step's process ourselves, and waiting for it.

use std::os::fd::OwnedFd;

use rustix::process::{DumpableBehavior, Signal, pidfd_send_signal};
use tokio::sync::oneshot;

use super::{assemble, plan};
use crate::cgroup::{Slot, Wanted};
use crate::kernel::spawn;
use crate::run::Settings;
use crate::run::step::{Leftovers, Life, Started, Stdio, Step, kernel, wait};
use crate::usage::{StepSample, Watch};
use crate::{ExecError, ExecRequest, ExitStatus};

/// Runs `step` in the namespaces that the calling thread is in, which becomes confined to the step's root
/// filesystem.
pub(crate) fn start_and_wait(
    settings: &Settings,
    step: Step,
    slot: Option<&Slot>,
    leftovers: &mut Leftovers,
) -> Result<ExitStatus, ExecError> {
    let Step {
        request,
        place: _,
        network,
        stdio,
        life,
        started,
        usage,
    } = step;
    let cgroups = settings.cgroups_of(&request);
    // The worker's own cgroups are children of the executor's parent.
    let slot = slot.filter(|_| request.cgroup_parent.is_none());
    let cgroup = leftovers
        .cgroup
        .insert(cgroups.step(Wanted::by(&request), slot)?);
    let view = assemble::assemble(
        settings,
        &request,
        &network,
        &cgroup.shown,
        &mut leftovers.aside,
    )?;
    let (stdio, terminal) = match stdio {
        Stdio::Streams(streams) => (plan::Streams::Given(streams), None),
        Stdio::Terminal => {
            let (master, streams) = assemble::terminal(&view)?;
            (plan::Streams::Terminal(streams), Some(master))
        }
    };
    let own = cgroup.into.as_ref().and_then(|dir| dir.try_clone().ok());
    let mut plan = plan::plan(settings, &request, &view, cgroup, stdio)?;
    plan.old_root = Some(assemble::enter_root(&view)?);
    let running = Running {
        settings,
        request: &request,
        life: &life,
    };
    running.spawn_and_wait(plan, Started { terminal }, (started, usage.zip(own)))
}

/// Runs a process in the namespaces of a step that the calling thread has joined.
pub(crate) fn join_and_wait(
    settings: &Settings,
    step: Step,
    slot: Option<&Slot>,
    leftovers: &mut Leftovers,
) -> Result<ExitStatus, ExecError> {
    let Step {
        request,
        stdio,
        life,
        started,
        ..
    } = step;
    let cgroups = settings.cgroups_of(&request);
    let cgroup = leftovers
        .cgroup
        .insert(cgroups.step(Wanted::by(&request), slot)?);
    let view = assemble::joined(&request)?;
    let (stdio, terminal) = match stdio {
        Stdio::Streams(streams) => (plan::Streams::Given(streams), None),
        Stdio::Terminal => {
            let (master, streams) = assemble::further_terminal(&view)?;
            (plan::Streams::Terminal(streams), Some(master))
        }
    };
    let plan = plan::plan(settings, &request, &view, cgroup, stdio)?.joined();
    let running = Running {
        settings,
        request: &request,
        life: &life,
    };
    running.spawn_and_wait(plan, Started { terminal }, (started, None))
}

/// Who wants to know what a step uses, and the step's cgroup.
type Watched = (oneshot::Sender<Vec<StepSample>>, OwnedFd);

/// A process about to be started.
struct Running<'a> {
    settings: &'a Settings,
    request: &'a ExecRequest,
    life: &'a Life,
}

impl Running<'_> {
    /// Starts the process and waits for its end.
    fn spawn_and_wait(
        &self,
        plan: spawn::Plan,
        told: Started,
        (started, watched): (oneshot::Sender<Started>, Option<Watched>),
    ) -> Result<ExitStatus, ExecError> {
        let Self {
            settings,
            request,
            life,
        } = self;
        if life.is_cancelled() {
            return Err(ExecError::Cancelled);
        }

        let process = spawn::spawn(&plan).map_err(|error| plan::explain(error, request));
        // Changing ids in memory that the child shares has cost this process its right to look at itself.
        if settings.dumpable == DumpableBehavior::Dumpable {
            let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable);
        }
        let process = process?;
        drop(plan);
        let begun = life.begin(&process, Vec::new());
        if begun.is_err() {
            let _ = pidfd_send_signal(&process, Signal::KILL);
        }
        let _ = started.send(told);

        let watch = watched.and_then(|(tell, cgroup)| Some((tell, Watch::start(cgroup).ok()?)));
        let status = wait(&process);
        if let Some((tell, watch)) = watch {
            let _ = tell.send(watch.finish());
        }
        life.end();
        begun.map_err(|error| kernel("watch the process", error))?;
        if life.is_cancelled() {
            return Err(ExecError::Cancelled);
        }
        status.map_err(|error| kernel("wait for the process", error))
    }
}
