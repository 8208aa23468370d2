//! What both executors have in common: threads that run steps, streams, cancelling.

pub(crate) mod aside;
pub(crate) mod rootfs;
pub(crate) mod step;
mod worker;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{DumpableBehavior, PidfdFlags, Signal};
use rustix::termios::Winsize;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::cgroup::{Base, Cgroups};
use crate::streams::{self, Pumps};
use crate::{
    Control, Dns, ExecError, ExecIo, ExecRequest, ExitStatus, InvalidRequest, Network, Terminal,
    rlimit,
};
use step::{Life, Place, Started, Stdio, Step, kernel};
use worker::{Job, Workers};

/// What all steps of one executor share.
#[derive(Debug, Clone)]
pub struct Options {
    /// A directory of the executor's own; several engines may share it.
    pub state: PathBuf,
    /// Parent of step cgroups, a path from the cgroup root; empty for the engine's own cgroup.
    pub cgroup_parent: String,
    /// What [`Network::Sandbox`] means.
    pub sandbox_network: SandboxNetwork,
    /// Overrides for `/etc/resolv.conf` of every step.
    pub dns: Dns,
}

/// What the default network of a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxNetwork {
    /// The host's: what the field falls back to where no bridge is configured.
    Host,
    /// Loopback only.
    None,
}

impl Options {
    /// Defaults with the given state directory.
    pub fn new(state: impl Into<PathBuf>) -> Options {
        Options {
            state: state.into(),
            cgroup_parent: String::new(),
            sandbox_network: SandboxNetwork::Host,
            dns: Dns::default(),
        }
    }

    /// What a step's network is in the end.
    fn resolve_network(&self, network: &Network) -> Network {
        match (network, self.sandbox_network) {
            (Network::Sandbox, SandboxNetwork::Host) => Network::Host,
            (Network::Sandbox, SandboxNetwork::None) => Network::None,
            (asked, _) => asked.clone(),
        }
    }

    /// Makes the state directory with an empty directory to mount on; returns that.
    fn prepare(&self) -> Result<PathBuf, ExecError> {
        let make = || -> io::Result<PathBuf> {
            fs::create_dir_all(&self.state)?;
            let mount_point = fs::canonicalize(&self.state)?.join("mnt");
            fs::create_dir_all(&mount_point)?;
            Ok(mount_point)
        };
        make().map_err(|error| {
            kernel(
                &format!("make the directory {}", self.state.display()),
                error,
            )
        })
    }
}

/// Who starts a step's process.
#[derive(Debug)]
pub(crate) enum Starter {
    /// We do.
    Kernel,
    /// An OCI runtime does.
    Runtime(crate::oci::Runtime),
}

/// Facts about this process and machine that every step needs.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) starter: Starter,
    pub(crate) mount_point: PathBuf,
    pub(crate) cgroups: Arc<Cgroups>,
    /// Those of steps that asked for a parent of their own.
    parents: Mutex<HashMap<String, Arc<Cgroups>>>,
    pub(crate) dns: Dns,
    /// Whether this process is in a user namespace, where less is allowed.
    pub(crate) in_user_namespace: bool,
    pub(crate) may_set_groups: bool,
    /// Whether the kernel has seccomp filters.
    pub(crate) seccomp: bool,
    pub(crate) dumpable: DumpableBehavior,
    /// A descriptor of this process.
    pub(crate) engine: OwnedFd,
}

impl Settings {
    /// The cgroups that a step belongs into.
    pub(crate) fn cgroups_of(&self, request: &ExecRequest) -> Arc<Cgroups> {
        let Some(parent) = &request.cgroup_parent else {
            return Arc::clone(&self.cgroups);
        };
        let mut parents = self.parents.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Cgroups::new(&Base::Path(parent.clone())));
        Arc::clone(parents.entry(parent.clone()).or_insert_with(new))
    }
}

/// Runs steps in threads.
#[derive(Debug)]
pub(crate) struct Runner {
    options: Options,
    workers: Arc<Workers>,
    running: Running,
}

/// The steps that run, by id.
#[derive(Debug, Clone, Default)]
struct Running(Arc<Mutex<HashMap<String, Arc<Life>>>>);

/// Keeps a step among those that run.
struct Registered {
    running: Running,
    id: String,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Life>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, id: &str, life: &Arc<Life>) -> Registered {
        self.lock().insert(id.to_owned(), Arc::clone(life));
        Registered {
            running: self.clone(),
            id: id.to_owned(),
        }
    }

    /// The process of a step, if it runs.
    fn find(&self, id: &str) -> Result<OwnedFd, ExecError> {
        let process = self.lock().get(id).and_then(|life| life.duplicate());
        process.ok_or_else(|| InvalidRequest::NotRunning(id.to_owned()).into())
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.running.lock().remove(&self.id);
    }
}

impl Runner {
    /// Prepares the state directory, looks at what the kernel offers and removes cgroups, with all processes
    /// in them, of engines that have died.
    pub(crate) fn new(options: Options, starter: Starter) -> Result<Runner, ExecError> {
        // Runtimes know one path for all hierarchies, so theirs starts at the root.
        let base = match (options.cgroup_parent.as_str(), &starter) {
            ("", Starter::Kernel) => Base::Own,
            (path, _) => Base::Path(path.to_owned()),
        };
        Runner::with_cgroups(options, starter, Cgroups::new(&base))
    }

    fn with_cgroups(
        options: Options,
        starter: Starter,
        cgroups: Cgroups,
    ) -> Result<Runner, ExecError> {
        let engine = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())
            .map_err(|error| {
                kernel(
                    "open a process descriptor (Linux 5.3 or newer has them)",
                    error,
                )
            })?;
        let uid_map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let settings = Settings {
            starter,
            mount_point: options.prepare()?,
            cgroups: Arc::new(cgroups),
            parents: Mutex::default(),
            dns: options.dns.clone(),
            in_user_namespace: !uid_map.split_whitespace().eq(["0", "0", "4294967295"]),
            may_set_groups: fs::read_to_string("/proc/self/setgroups")
                .is_ok_and(|text| text.trim() == "allow"),
            seccomp: Path::new("/proc/sys/kernel/seccomp").exists(),
            dumpable: rustix::process::dumpable_behavior().unwrap_or(DumpableBehavior::NotDumpable),
            engine,
        };
        if !settings.seccomp {
            tracing::warn!("this kernel has no seccomp filters: steps run without");
        }
        Ok(Runner {
            options,
            workers: Arc::new(Workers::new(Arc::new(settings))),
            running: Running::default(),
        })
    }

    /// Runs one step; see [`crate::Executor::run`].
    pub(crate) async fn run(
        &self,
        request: ExecRequest,
        io: ExecIo,
        cancel: CancellationToken,
    ) -> Result<ExitStatus, ExecError> {
        validate(&request)?;
        let life = KillOnDrop(Arc::default());
        let _registered = self.running.add(&request.id, &life.0);
        self.follow(request, Place::Own, life, (io, cancel)).await
    }

    /// Runs a process in a step that runs; see [`crate::Executor::join`].
    pub(crate) async fn join(
        &self,
        step: &str,
        request: ExecRequest,
        io: ExecIo,
        cancel: CancellationToken,
    ) -> Result<ExitStatus, ExecError> {
        validate(&request)?;
        let place = Place::In(self.running.find(step)?);
        let life = KillOnDrop(Arc::default());
        self.follow(request, place, life, (io, cancel)).await
    }

    /// Hands a step to a thread and follows its run.
    async fn follow(
        &self,
        request: ExecRequest,
        place: Place,
        life: KillOnDrop,
        (mut io, cancel): (ExecIo, CancellationToken),
    ) -> Result<ExitStatus, ExecError> {
        let failed = |error| kernel("make pipes", error);
        let (stdio, mut pumps) = match request.terminal {
            Terminal::None => {
                let (streams, pumps) = streams::connect(&mut io).map_err(failed)?;
                (Stdio::Streams(streams), pumps)
            }
            Terminal::Pty => (Stdio::Terminal, Pumps::default()),
        };
        let (started, mut start) = oneshot::channel();
        let (done, mut end) = oneshot::channel();
        let network = self.options.resolve_network(&request.network);
        let step = Step {
            request,
            place,
            network,
            stdio,
            life: Arc::clone(&life.0),
            started,
            usage: io.usage.take(),
        };
        self.workers.submit(Job { step, done })?;

        let mut control = io.control.take();
        let mut told = io.started.take();
        let mut master: Option<OwnedFd> = None;
        let mut waiting = true;
        let result = loop {
            tokio::select! {
                result = &mut end => break result.unwrap_or(Err(ExecError::Cancelled)),
                () = cancel.cancelled(), if !life.0.is_cancelled() => life.0.cancel(),
                started = &mut start, if waiting => {
                    waiting = false;
                    if let Ok(Started { terminal }) = started {
                        if let Some(terminal) = terminal {
                            master = terminal.try_clone().ok();
                            pumps = streams::connect_terminal(terminal, &mut io).map_err(failed)?;
                        }
                        let _ = told.take().map(|told| told.send(()));
                    }
                }
                // Not before there is somebody to fulfil it.
                wish = next(&mut control), if !waiting => match wish {
                    Some(wish) => obey(wish, &life.0, master.as_ref()),
                    None => control = None,
                },
            }
        };
        if waiting
            && let Ok(Started {
                terminal: Some(terminal),
            }) = start.try_recv()
        {
            pumps = streams::connect_terminal(terminal, &mut io).map_err(failed)?;
        }
        pumps.drain().await;
        result
    }
}

/// A run that is dropped instead of cancelled ends its process all the same.
struct KillOnDrop(Arc<Life>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// The next wish; never, where there can be none.
async fn next(control: &mut Option<mpsc::Receiver<Control>>) -> Option<Control> {
    match control {
        Some(control) => control.recv().await,
        None => std::future::pending().await,
    }
}

fn obey(wish: Control, life: &Life, master: Option<&OwnedFd>) {
    match wish {
        Control::Signal(number) => {
            if let Some(signal) = Signal::from_named_raw(number) {
                life.signal(signal);
            }
        }
        Control::Resize(size) => {
            let size = Winsize {
                ws_row: size.rows,
                ws_col: size.columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            let _ = master.map(|master| rustix::termios::tcsetwinsize(master, size));
            life.resized();
        }
    }
}

fn validate(request: &ExecRequest) -> Result<(), InvalidRequest> {
    if request.id.is_empty() || !request.id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(InvalidRequest::Id(request.id.clone()));
    }
    if request.args.is_empty() {
        return Err(InvalidRequest::NoArgs);
    }
    let nul = |what, value: &String| match value.contains('\0') {
        true => Err(InvalidRequest::NulByte {
            what,
            value: value.clone(),
        }),
        false => Ok(()),
    };
    request
        .args
        .iter()
        .try_for_each(|value| nul("argument", value))?;
    request
        .env
        .iter()
        .try_for_each(|value| nul("environment variable", value))?;
    rlimit::parse(&request.rlimits).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mount;

    /// Machines with v1 alone are rare; on those with both only this test goes the way of v2.
    #[tokio::test]
    async fn steps_are_born_in_their_cgroup_v2() {
        let dir = tempfile::tempdir().unwrap();
        kiln_testkit::rootfs::busybox(dir.path().join("rootfs")).unwrap();
        let options = Options::new(dir.path().join("state"));
        let runner = Runner::with_cgroups(options, Starter::Kernel, Cgroups::unified()).unwrap();
        let script = "grep ^0: /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs; \
                      mkdir /sys/fs/cgroup/x 2>/dev/null || echo read-only; \
                      mknod /tmp/disk b 7 0 && cat /tmp/disk 2>&1";
        let rootfs = vec![Mount::bind(dir.path().join("rootfs"))];
        let request = ExecRequest::new("step", rootfs, ["/bin/sh", "-c", script]);
        let (stdout, mut received) = mpsc::channel(8);
        let (usage, mut used) = oneshot::channel();
        let io = ExecIo {
            stdout: Some(stdout),
            usage: Some(usage),
            ..ExecIo::default()
        };
        let print = async {
            let mut text = String::new();
            while let Some(bytes) = received.recv().await {
                text += &String::from_utf8_lossy(&bytes);
            }
            text
        };
        let (status, text) = tokio::join!(runner.run(request, io, CancellationToken::new()), print);
        assert_eq!(status.unwrap().code, 1);
        let (start, end) = (
            "0::/\n1\n",
            "read-only\ncat: can't open '/tmp/disk': Operation not permitted\n",
        );
        assert!(text.starts_with(start) && text.ends_with(end), "{text}");
        let used = used.try_recv().unwrap();
        let cpu = used.last().unwrap().cpu_stat.as_ref().unwrap();
        assert!(cpu.get("usageNanos").unwrap() > 0, "{used:?}");
    }
}
