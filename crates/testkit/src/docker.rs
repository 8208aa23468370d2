//! A real Docker engine, Debian's dockerd, with data folders of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::run::wait_for_line;
use crate::tools;

/// Where the engine keeps images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageStore {
    /// In Docker's own graph drivers.
    Graph,
    /// In containerd.
    Containerd,
}

/// A running engine without networks; stopped on drop.
#[derive(Debug)]
pub struct Docker {
    child: Child,
    dir: TempDir,
}

impl Docker {
    /// Starts an engine that is ready. It needs root.
    pub fn start(store: ImageStore) -> io::Result<Docker> {
        let dir = folder()?;
        let command = daemon(dir.path(), store);
        Docker::await_ready(command, dir)
    }

    /// Starts an engine that keeps what it has in memory, where it waits for no disk.
    /// The memory is a mount that nobody else sees: it goes with the engine, which
    /// ends with the thread that started it, however that ends. It needs root.
    pub fn start_in_memory() -> io::Result<Docker> {
        let dir = folder()?;
        let data = data(dir.path());
        fs::create_dir(&data)?;
        let daemon = daemon(dir.path(), ImageStore::Containerd);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c"]);
        command.arg("mount -t tmpfs tmpfs \"$0\" && exec setpriv --pdeathsig TERM \"$@\"");
        command.arg(data).arg(daemon.get_program());
        command.args(daemon.get_args());
        let environment = daemon.get_envs();
        command.envs(environment.filter_map(|(key, value)| Some((key, value?))));
        Docker::await_ready(command, dir)
    }

    fn await_ready(mut command: Command, dir: TempDir) -> io::Result<Docker> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        match wait_for_line(&mut child, "API listen on") {
            Ok(()) => Ok(Docker { child, dir }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// The engine's address, for `DOCKER_HOST`.
    pub fn address(&self) -> String {
        format!("unix://{}", socket(self.dir.path()).display())
    }

    /// The engine's socket.
    pub fn socket(&self) -> PathBuf {
        socket(self.dir.path())
    }

    /// `docker`, which talks to this engine.
    pub fn command(&self) -> Command {
        let mut command = Command::new(client());
        command
            .env("DOCKER_HOST", self.address())
            .env("DOCKER_CONFIG", self.dir.path().join("client"));
        command
    }
}

/// Docker's command-line client.
pub fn client() -> PathBuf {
    tools::program("usr/bin/docker")
}

/// A folder for an engine, with its configuration.
fn folder() -> io::Result<TempDir> {
    let dir = tempfile::Builder::new().prefix("kiln-docker-").tempdir()?;
    fs::write(settings(dir.path()), "{}")?;
    Ok(dir)
}

/// A configuration file of its own, not the machine's.
fn settings(dir: &Path) -> PathBuf {
    dir.join("daemon.json")
}

fn data(dir: &Path) -> PathBuf {
    dir.join("data")
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("docker.sock")
}

fn daemon(dir: &Path, store: ImageStore) -> Command {
    let program = tools::program("usr/sbin/dockerd");
    // It finds containerd among the unpacked packages, and runc on the machine.
    let containerd = tools::program("usr/bin/containerd");
    let mut path = containerd
        .parent()
        .unwrap_or(Path::new("/"))
        .as_os_str()
        .to_owned();
    path.push(":/usr/sbin:/usr/bin:/sbin:/bin");
    let mut command = Command::new(program);
    command.env("PATH", path);
    command.arg("--data-root").arg(data(dir));
    command.arg("--exec-root").arg(dir.join("exec"));
    command.arg("--pidfile").arg(dir.join("pid"));
    command.arg("--config-file").arg(settings(dir));
    command
        .arg("--host")
        .arg(format!("unix://{}", socket(dir).display()));
    command.args([
        "--bridge=none",
        "--userland-proxy=false",
        "--iptables=false",
        "--ip6tables=false",
    ]);
    let is_containerd = store == ImageStore::Containerd;
    command.arg(format!("--feature=containerd-snapshotter={is_containerd}"));
    command
}

impl Drop for Docker {
    /// Lets the engine stop its own containerd, which a kill would leave.
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}
