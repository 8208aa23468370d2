//! The reference engine: Debian's docker.io with the builder in it, unpacked
//! into a folder of its own and started with data folders of its own.

mod packages;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::engine::{Build, Cache, Output};
use super::process::{Service, WorkFolder, at, mortal};
use crate::run::has;

/// A started reference engine.
pub(super) struct Reference {
    client: Client,
    service: Service,
}

/// The reference's client and how it reaches the daemon.
struct Client {
    tools: PathBuf,
    socket: PathBuf,
    settings: PathBuf,
}

impl Reference {
    pub(super) fn start(work: &WorkFolder) -> Result<Reference, String> {
        let tools = packages::unpacked()?;
        if !has("runc") && !Path::new("/usr/sbin/runc").is_file() {
            return Err("it needs runc (`cargo xtask setup` installs it)".into());
        }
        let data = work.join("reference");
        let client = Client::new(tools, &data)?;
        let service = Service::start(
            "dockerd",
            client.daemon_command(&data),
            &data.join("log"),
            || client.answers(),
        )?;
        Ok(Reference { client, service })
    }

    pub(super) fn daemon(&self) -> u32 {
        self.service.id()
    }

    pub(super) fn command(&self, build: &Build<'_>) -> Command {
        let mut command = self.client.docker();
        command.args([
            "buildx",
            "build",
            "--progress",
            "plain",
            "--network",
            "host",
        ]);
        // Our output has no attestations either, unless they are asked for.
        command.arg("--provenance=false");
        if let Cache::Ignore = build.cache {
            command.arg("--no-cache");
        }
        command.arg("--output").arg(match build.output {
            Output::Kept => "type=cacheonly".into(),
            Output::Archive(path) => format!("type=oci,dest={}", path.display()),
            Output::Folder(path) => format!("type=local,dest={}", path.display()),
        });
        command.arg(build.context);
        command
    }

    /// Versions of the daemon and of the client.
    pub(super) fn version(&self) -> String {
        let server = ["version", "--format", "{{.Server.Version}}"];
        format!(
            "docker.io {} with the builder inside it, {}",
            first_line(self.client.docker().args(server)),
            first_line(self.client.docker().args(["buildx", "version"])),
        )
    }
}

impl Client {
    fn new(tools: PathBuf, data: &Path) -> Result<Client, String> {
        let settings = data.join("client");
        let plugins = settings.join("cli-plugins");
        fs::create_dir_all(&plugins).map_err(|error| at(&plugins, &error))?;
        let plugin = plugins.join("docker-buildx");
        symlink(
            tools.join("usr/libexec/docker/cli-plugins/docker-buildx"),
            &plugin,
        )
        .map_err(|error| at(&plugin, &error))?;
        Ok(Client {
            tools,
            socket: data.join("docker.sock"),
            settings,
        })
    }

    fn daemon_command(&self, data: &Path) -> Command {
        let mut command = mortal(self.tools.join("usr/sbin/dockerd"));
        command.arg("--data-root").arg(data.join("data"));
        command.arg("--exec-root").arg(data.join("exec"));
        command.arg("--pidfile").arg(data.join("pid"));
        command
            .arg("--host")
            .arg(format!("unix://{}", self.socket.display()));
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false"]);
        // Only this store can write OCI archives.
        command.arg("--feature=containerd-snapshotter=true");
        command.env("PATH", self.path());
        command
    }

    fn docker(&self) -> Command {
        let mut command = Command::new(self.tools.join("usr/bin/docker"));
        command.env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        command.env("DOCKER_CONFIG", &self.settings);
        command.env("BUILDX_CONFIG", self.settings.join("buildx"));
        command
    }

    fn answers(&self) -> bool {
        let output = self.docker().args(["version"]).output();
        output.is_ok_and(|output| output.status.success())
    }

    /// The daemon finds containerd here, and runc on the machine.
    fn path(&self) -> OsString {
        let mut path = OsString::new();
        for folder in ["usr/bin", "usr/sbin"] {
            path.push(self.tools.join(folder));
            path.push(":");
        }
        path.push(std::env::var_os("PATH").unwrap_or_default());
        path.push(":/usr/sbin:/sbin");
        path
    }
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
