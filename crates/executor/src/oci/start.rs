//! Starting an OCI runtime for a step, and waiting for it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio as CommandStdio};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal,
};
use rustix::pty::OpenptFlags;

use super::{Keep, Runtime, report, spec};
use crate::kernel::calls;
use crate::run::Settings;
use crate::run::rootfs::Rootfs;
use crate::run::step::{Leftovers, Started, Stdio, Step, kernel, wait};
use crate::{Access, ExecError, ExitStatus, Mount};

/// Runs `step` through `runtime` in the mount namespace that the calling thread is in.
pub(crate) fn start_and_wait(
    runtime: &Runtime,
    settings: &Settings,
    step: Step,
    leftovers: &mut Leftovers,
) -> Result<ExitStatus, ExecError> {
    let Step {
        request,
        place: _,
        network,
        stdio,
        life,
        started,
        usage: _,
    } = step;
    let rootfs = Rootfs::mount(settings, &request, &mut leftovers.aside)?;
    let (cgroup, step_cgroup) = settings.cgroups_of(&request).runtime_step(&request.id);
    let container = step_cgroup.made.clone();
    leftovers.cgroup = Some(step_cgroup);

    let mut mounts: Vec<(&Path, Mount)> = Vec::new();
    for (index, point) in rootfs.mounts.iter().enumerate() {
        for (mut mount, _) in rootfs.sources(point, index)? {
            if point.access == Access::ReadOnly {
                mount.options.push("ro".to_owned());
            }
            mounts.push((&point.target, mount));
        }
    }
    let unified = settings.cgroups.is_unified();
    let parts = spec::Parts {
        rootfs: &rootfs,
        mounts: &mounts,
        network: &network,
        cgroup,
        unified,
    };
    let config = spec::config(&request, &parts)?;
    let bundle = rootfs.scratch.as_path();
    fs::write(bundle.join("config.json"), config)
        .map_err(|error| kernel("write config.json", error))?;

    let (stdio, terminal) = streams(stdio).map_err(|error| kernel("open a terminal", error))?;
    if life.is_cancelled() {
        return Err(ExecError::Cancelled);
    }
    let process =
        start(runtime, bundle, &request.id, stdio).map_err(|error| ExecError::Runtime {
            runtime: runtime.binary.clone(),
            message: format!("cannot be executed: {error}"),
        })?;
    let begun = life.begin(&process, container);
    if begun.is_err() {
        let _ = pidfd_send_signal(&process, Signal::KILL);
    }
    let _ = started.send(Started { terminal });

    let status = wait(&process);
    let cancelled = life.is_cancelled();
    // Once more, now that the runtime can start nothing any more.
    if cancelled {
        life.cancel();
    }
    life.end();
    begun.map_err(|error| kernel("watch the process", error))?;
    if cancelled {
        return Err(ExecError::Cancelled);
    }
    let status = status.map_err(|error| kernel("wait for the runtime", error))?;
    match report::failure(runtime, &bundle.join("log.json"), &request) {
        Some(error) if !status.success() => Err(error),
        _ => Ok(status),
    }
}

fn start(runtime: &Runtime, bundle: &Path, id: &str, stdio: [OwnedFd; 3]) -> io::Result<OwnedFd> {
    let mut command = Command::new(&runtime.binary);
    command
        .arg("--root")
        .arg(bundle.join("state"))
        .arg("--log")
        .arg(bundle.join("log.json"))
        .args(["--log-format", "json", "run"]);
    if runtime.keep == Keep::Known {
        command.arg("--keep");
    }
    let [stdin, stdout, stderr] = stdio.map(CommandStdio::from);
    command
        .arg("--bundle")
        .arg(bundle)
        .arg(id)
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr);
    calls::die_with_parent(&mut command);
    // Not waited for by number: the descriptor below is.
    let child = command.spawn()?;
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(io::ErrorKind::InvalidData)?;
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => Ok(process),
        Err(error) => {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            let _ = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
            Err(error.into())
        }
    }
}

/// The runtime's standard streams, and our end of a terminal if there is one.
fn streams(stdio: Stdio) -> io::Result<([OwnedFd; 3], Option<OwnedFd>)> {
    match stdio {
        Stdio::Streams(streams) => Ok((streams, None)),
        Stdio::Terminal => {
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            let master = rustix::pty::openpt(flags)?;
            rustix::pty::grantpt(&master)?;
            rustix::pty::unlockpt(&master)?;
            let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
            Ok((
                [slave.try_clone()?, slave.try_clone()?, slave],
                Some(master),
            ))
        }
    }
}
