//! The reference engine: Debian's docker.io with the builder in it, unpacked
//! into a folder of its own and started with data folders of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::docker::Docker;
use super::engine::Build;
use super::process::{Service, WorkFolder, mortal};
use crate::packages;
use crate::run::has;

const PACKAGES: &[&str] = &["docker.io", "docker-cli", "docker-buildx", "containerd"];

/// A started reference engine.
pub(super) struct Reference {
    tools: PathBuf,
    client: Docker,
    service: Service,
}

impl Reference {
    pub(super) fn start(work: &WorkFolder) -> Result<Reference, String> {
        let tools = packages::unpacked("reference", PACKAGES)?;
        if !has("runc") && !Path::new("/usr/sbin/runc").is_file() {
            return Err("it needs runc (`cargo xtask setup` installs it)".into());
        }
        let (client, service) = start(&tools, &work.join("reference"))?;
        Ok(Reference {
            tools,
            client,
            service,
        })
    }

    pub(super) fn daemon(&self) -> u32 {
        self.service.id()
    }

    /// Another daemon with all its files in `data`.
    pub(super) fn again(&self, data: &Path) -> Result<Service, String> {
        Ok(start(&self.tools, data)?.1)
    }

    /// Where the daemon listens.
    pub(super) fn socket(&self) -> &Path {
        self.client.socket()
    }

    /// Where the client's programs are.
    pub(super) fn tools(&self) -> &Path {
        &self.tools
    }

    pub(super) fn prune(&self) -> Command {
        self.client.prune()
    }

    pub(super) fn command(&self, build: &Build<'_>) -> Command {
        self.client.build(build)
    }

    /// Versions of the daemon and of the client.
    pub(super) fn version(&self) -> String {
        let server = ["version", "--format", "{{.Server.Version}}"];
        format!(
            "docker.io {} with the builder inside it, {}",
            first_line(self.client.command().args(server)),
            first_line(self.client.command().args(["buildx", "version"])),
        )
    }
}

fn start(tools: &Path, data: &Path) -> Result<(Docker, Service), String> {
    let socket = data.join("docker.sock");
    let client = Docker::new(tools, &data.join("client"), &socket)?;
    let command = daemon_command(tools, data, &socket);
    let service = Service::start("dockerd", command, &data.join("log"), || client.answers())?;
    Ok((client, service))
}

fn daemon_command(tools: &Path, data: &Path, socket: &Path) -> Command {
    let mut command = mortal(tools.join("usr/sbin/dockerd"));
    command.arg("--data-root").arg(data.join("data"));
    command.arg("--exec-root").arg(data.join("exec"));
    command.arg("--pidfile").arg(data.join("pid"));
    command
        .arg("--host")
        .arg(format!("unix://{}", socket.display()));
    command.args(["--bridge=none", "--iptables=false", "--ip6tables=false"]);
    // Only this store can write OCI archives.
    command.arg("--feature=containerd-snapshotter=true");
    command.env("PATH", path(tools));
    command
}

/// The daemon finds containerd here, and runc on the machine.
fn path(tools: &Path) -> OsString {
    let mut path = OsString::new();
    for folder in ["usr/bin", "usr/sbin"] {
        path.push(tools.join(folder));
        path.push(":");
    }
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path.push(":/usr/sbin:/sbin");
    path
}

fn first_line(command: &mut Command) -> String {
    let output = command
        .output()
        .map(|output| output.stdout)
        .unwrap_or_default();
    String::from_utf8_lossy(&output)
        .lines()
        .next()
        .unwrap_or("unknown")
        .to_owned()
}
