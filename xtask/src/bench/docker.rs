//! The reference's client, which drives both daemons.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::engine::{Build, Cache, Output, RemoteCache};
use crate::run::at;

/// `docker buildx` with settings of its own.
pub(super) struct Docker {
    tools: PathBuf,
    settings: PathBuf,
    socket: PathBuf,
}

impl Docker {
    /// A client of the daemon behind `socket`.
    pub(super) fn new(tools: &Path, settings: &Path, socket: &Path) -> Result<Docker, String> {
        let plugins = settings.join("cli-plugins");
        fs::create_dir_all(&plugins).map_err(|error| at(&plugins, &error))?;
        let plugin = plugins.join("docker-buildx");
        let program = tools.join("usr/libexec/docker/cli-plugins/docker-buildx");
        symlink(program, &plugin).map_err(|error| at(&plugin, &error))?;
        Ok(Docker {
            tools: tools.into(),
            settings: settings.into(),
            socket: socket.into(),
        })
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// `docker` with this client's settings.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(self.tools.join("usr/bin/docker"));
        command.env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        command.env("DOCKER_CONFIG", &self.settings);
        command.env("BUILDX_CONFIG", self.settings.join("buildx"));
        command
    }

    /// `docker`, whose standard output goes to `docker load`.
    fn loading(&self) -> Command {
        let docker = self.command();
        let mut command = Command::new("bash");
        command.args(["-o", "pipefail", "-c", "\"$0\" \"$@\" | \"$0\" load"]);
        command.arg(docker.get_program());
        let variables = docker.get_envs();
        command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// Whether the daemon answers.
    pub(super) fn answers(&self) -> bool {
        let output = self.command().args(["version"]).output();
        output.is_ok_and(|output| output.status.success())
    }

    /// Removes all that builds have left.
    pub(super) fn prune(&self) -> Command {
        let mut command = self.command();
        command.args(["buildx", "prune", "--all", "--force"]);
        command
    }

    /// One build.
    pub(super) fn build(&self, build: &Build<'_>) -> Command {
        let mut command = match build.output {
            Output::Load(..) => self.loading(),
            _ => self.command(),
        };
        command.args(["buildx", "build", "--progress", "plain"]);
        command.args(["--network", "host"]);
        // Our output has no attestations either, unless they are asked for.
        command.arg("--provenance=false");
        if let Cache::Ignore = build.cache {
            command.arg("--no-cache");
        }
        match build.remote {
            RemoteCache::None => {}
            RemoteCache::Export(path) => {
                let cache = format!("type=local,mode=max,dest={}", path.display());
                command.args(["--cache-to", &cache]);
            }
            RemoteCache::Import(path) => {
                let cache = format!("type=local,src={}", path.display());
                command.args(["--cache-from", &cache]);
            }
        }
        command.arg("--output").arg(match build.output {
            Output::Kept => "type=cacheonly".into(),
            Output::Archive(path, compression) => {
                format!("type=oci,compression={compression},dest={}", path.display())
            }
            Output::Folder(path) => format!("type=local,dest={}", path.display()),
            Output::Push(name) => format!("type=image,name={name},push=true"),
            Output::Load(name, _) => format!("type=docker,name={name},dest=-"),
        });
        command.arg(build.context);
        command
    }
}
