//! The engines that are compared, and what they are asked to do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Instant;

use super::daemon::Daemon;
use super::inputs;
use super::measure::{Sample, peak_now};
use super::process::WorkFolder;
use super::reference::Reference;
use crate::run::run_quietly;

/// Whether earlier results may be used.
#[derive(Clone, Copy)]
pub(super) enum Cache {
    Use,
    Ignore,
}

/// A cache elsewhere that takes part, as a directory.
#[derive(Clone, Copy)]
pub(super) enum RemoteCache<'a> {
    None,
    /// With the records of all steps.
    Export(&'a Path),
    Import(&'a Path),
}

/// Where the result goes.
#[derive(Clone, Copy)]
pub(super) enum Output<'a> {
    /// Nowhere: it stays in the engine's cache.
    Kept,
    /// An OCI archive with its layers in this compression.
    Archive(&'a Path, &'static str),
    /// Files in a folder.
    Folder(&'a Path),
    /// An image of this name in its registry.
    Push(&'a str),
    /// An image of this name in the Docker engine at this socket.
    Load(&'a str, &'a Path),
}

/// One build, the same for every engine.
#[derive(Clone, Copy)]
pub(super) struct Build<'a> {
    /// The context, with the Dockerfile in it.
    pub(super) context: &'a Path,
    pub(super) cache: Cache,
    pub(super) remote: RemoteCache<'a>,
    pub(super) output: Output<'a>,
}

/// What drives our daemon.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// Our `buildctl`.
    Own,
    /// The reference's client.
    Buildx,
}

/// What is measured.
pub(super) enum Engine {
    /// Our `buildctl` with the engine in its own process.
    Ours(Ours),
    /// Our `buildkitd`.
    Daemon(Rc<Daemon>, Client),
    /// The reference's daemon and client.
    Reference(Box<Reference>),
}

impl Engine {
    pub(super) fn command(&self, build: &Build<'_>) -> Command {
        match self {
            Engine::Ours(ours) => ours.command(build),
            Engine::Daemon(daemon, client) => daemon.command(*client, build),
            Engine::Reference(reference) => reference.command(build),
        }
    }

    /// What its repositories are called.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Engine::Ours(_) => "buildctl",
            Engine::Daemon(..) => "buildkitd",
            Engine::Reference(_) => "reference",
        }
    }

    /// Starts another daemon of this kind and stops it again; what it took
    /// until it answered. `None` for an engine without a daemon.
    pub(super) fn start_again(&self, work: &WorkFolder) -> Result<Option<Sample>, String> {
        let folder = work.join("another");
        let start = Instant::now();
        let started = match self {
            Engine::Ours(_) => return Ok(None),
            Engine::Daemon(daemon, _) => daemon.again(&folder)?,
            Engine::Reference(reference) => reference.again(&folder)?,
        };
        let seconds = start.elapsed().as_secs_f64();
        let memory = peak_now(&[started.id()]);
        drop(started);
        inputs::remove(&folder);
        Ok(Some(Sample {
            seconds,
            memory,
            output: None,
        }))
    }

    /// Removes all that builds have left in it.
    pub(super) fn forget(&self, log: &Path) -> Result<(), String> {
        let mut command = match self {
            Engine::Ours(ours) => ours.prune(),
            Engine::Daemon(daemon, _) => daemon.prune(),
            Engine::Reference(reference) => reference.prune(),
        };
        run_quietly(&mut command, log)
    }

    /// Processes that serve builds and live longer than one.
    pub(super) fn daemons(&self) -> Vec<u32> {
        match self {
            Engine::Ours(_) => Vec::new(),
            Engine::Daemon(daemon, _) => vec![daemon.id()],
            Engine::Reference(reference) => vec![reference.daemon()],
        }
    }
}

/// Our client's release binary, and the engine that it uses.
pub(super) struct Ours {
    pub(super) binary: PathBuf,
    pub(super) engine: Place,
}

/// Where our engine is.
pub(super) enum Place {
    /// In the client's process, with its state in this folder.
    Root(PathBuf),
    /// In the daemon that listens here.
    Socket(PathBuf),
}

impl Ours {
    fn buildctl(&self) -> Command {
        let mut command = Command::new(&self.binary);
        match &self.engine {
            Place::Root(root) => command.arg("--root").arg(root),
            Place::Socket(socket) => command.args(["--addr", &address(socket)]),
        };
        command
    }

    pub(super) fn prune(&self) -> Command {
        let mut command = self.buildctl();
        command.args(["prune", "--all"]);
        command
    }

    pub(super) fn command(&self, build: &Build<'_>) -> Command {
        let mut command = self.buildctl();
        command.args([
            "build",
            "--progress",
            "plain",
            "--frontend",
            "dockerfile.v0",
        ]);
        for name in ["context", "dockerfile"] {
            command
                .arg("--local")
                .arg(format!("{name}={}", build.context.display()));
        }
        // Steps have the host's network on both sides.
        command.args([
            "--allow",
            "network.host",
            "--opt",
            "force-network-mode=host",
        ]);
        if let Cache::Ignore = build.cache {
            command.arg("--no-cache");
        }
        match build.remote {
            RemoteCache::None => {}
            RemoteCache::Export(path) => {
                let cache = format!("type=local,mode=max,dest={}", path.display());
                command.args(["--export-cache", &cache]);
            }
            RemoteCache::Import(path) => {
                let cache = format!("type=local,src={}", path.display());
                command.args(["--import-cache", &cache]);
            }
        }
        match build.output {
            Output::Kept => {}
            Output::Archive(path, compression) => {
                let path = path.display();
                command
                    .arg("--output")
                    .arg(format!("type=oci,compression={compression},dest={path}"));
            }
            Output::Folder(path) => {
                command
                    .arg("--output")
                    .arg(format!("type=local,dest={}", path.display()));
            }
            Output::Push(name) => {
                command
                    .arg("--output")
                    .arg(format!("type=image,name={name},push=true"));
            }
            Output::Load(name, socket) => {
                let socket = socket.display();
                command
                    .arg("--output")
                    .arg(format!("type=docker,name={name},dest=docker://{socket}"));
            }
        }
        command
    }

    /// Makes an image of a context and pushes it.
    pub(super) fn push(&self, context: &Path, name: &str, log: &Path) -> Result<(), String> {
        let build = Build {
            context,
            cache: Cache::Use,
            remote: RemoteCache::None,
            output: Output::Push(name),
        };
        let mut command = self.command(&build);
        run_quietly(&mut command, log).map_err(|error| format!("cannot push {name}: {error}"))
    }
}

/// A socket as clients name it.
pub(super) fn address(socket: &Path) -> String {
    format!("unix://{}", socket.display())
}
