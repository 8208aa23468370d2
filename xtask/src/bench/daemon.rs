//! Our `buildkitd`, driven by our own client or by the reference's.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::docker::Docker;
use super::engine::{Build, Client, Ours, Place, address};
use super::process::{Service, WorkFolder, mortal};
use crate::run::{at, run_quietly};

/// A started `buildkitd`.
pub(super) struct Daemon {
    binary: PathBuf,
    own: Ours,
    buildx: Docker,
    service: Service,
}

impl Daemon {
    /// Starts the daemon that was built beside our client `buildctl`; `tools`
    /// is where the programs of the reference's client are.
    pub(super) fn start(
        buildctl: &Path,
        tools: &Path,
        work: &WorkFolder,
    ) -> Result<Daemon, String> {
        let (binary, data) = (buildctl.with_file_name("buildkitd"), work.join("daemon"));
        let buildx = Docker::new(tools, &data.join("client"), &socket(&data))?;
        let service = serve(&binary, &data)?;
        let mut create = buildx.command();
        create.args(["buildx", "create", "--use", "--driver", "remote"]);
        create.arg(address(&socket(&data)));
        run_quietly(&mut create, &data.join("client.log"))?;
        Ok(Daemon {
            binary,
            own: Ours {
                binary: buildctl.to_owned(),
                engine: Place::Socket(socket(&data)),
            },
            buildx,
            service,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.service.id()
    }

    /// Another daemon with all its files in `data`.
    pub(super) fn again(&self, data: &Path) -> Result<Service, String> {
        serve(&self.binary, data)
    }

    pub(super) fn prune(&self) -> Command {
        self.own.prune()
    }

    pub(super) fn command(&self, client: Client, build: &Build<'_>) -> Command {
        match client {
            Client::Own => self.own.command(build),
            Client::Buildx => self.buildx.build(build),
        }
    }
}

fn socket(data: &Path) -> PathBuf {
    data.join("buildkitd.sock")
}

/// Starts `buildkitd` with all its files in a folder; it answers once its socket is there.
fn serve(binary: &Path, data: &Path) -> Result<Service, String> {
    fs::create_dir_all(data).map_err(|error| at(data, &error))?;
    let socket = socket(data);
    let mut command = mortal(binary);
    command.arg("--root").arg(data.join("root"));
    command.args(["--addr", &address(&socket)]);
    command.args(["--config", "/dev/null"]);
    command.args(["--allow-insecure-entitlement", "network.host"]);
    let is_ready = || UnixStream::connect(&socket).is_ok();
    Service::start("buildkitd", command, &data.join("log"), is_ready)
}
