//! docker-buildx, the field's own client, against the daemon.

mod builds;
mod caches;
mod contexts;
mod history;
mod questions;

use std::path::PathBuf;
use std::process::{Command, Output};

use kiln_testkit::{registry::Registry, rootfs, tools};

use crate::process::Daemon;

/// A daemon, a registry with a base image, and buildx with settings of its
/// own; all of it is gone when the test ends.
struct Buildx {
    dir: tempfile::TempDir,
    _daemon: Daemon,
    registry: Registry,
}

/// What a command did.
struct Ran {
    success: bool,
    stdout: String,
    stderr: String,
}

impl Buildx {
    fn start() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("kiln-buildx-")
            .tempdir()
            .unwrap();
        let registry = Registry::start().unwrap();
        let daemon = Daemon::start(&[]);
        let buildx = Self {
            dir,
            registry,
            _daemon: daemon,
        };
        rootfs::busybox(buildx.path("base/rootfs")).unwrap();
        let socket = format!("unix://{}", buildx._daemon.socket().display());
        buildx.must(&[
            "create", "--name", "kiln", "--driver", "remote", "--use", &socket,
        ]);
        buildx.write("base/Dockerfile", "FROM scratch\nCOPY rootfs /\n");
        let base = buildx.image("base:1");
        buildx.must(&["build", "--push", "--tag", &base, "base"]);
        buildx
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(&self, relative: &str) -> String {
        let path = self.path(relative);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A context of its own whose Dockerfile begins with the base image.
    fn on_base(&self, context: &str, text: &str) {
        let base = self.image("base:1");
        self.write(
            &format!("{context}/Dockerfile"),
            &format!("FROM {base} AS base\n{text}"),
        );
    }

    /// The name of an image in the test's registry.
    fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.host())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(tools::buildx());
        command
            .current_dir(self.dir.path())
            .env("BUILDX_CONFIG", self.path("buildx"))
            .env("DOCKER_CONFIG", self.path("docker"))
            .env("HOME", self.dir.path())
            .env_remove("SOURCE_DATE_EPOCH")
            .env_remove("DOCKER_HOST")
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments).output().unwrap())
    }

    /// A command that must work; what it printed on both streams.
    fn must(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert!(
            ran.success,
            "buildx {arguments:?} failed:\n{}\n{}",
            ran.stdout, ran.stderr
        );
        ran
    }

    /// The digest of the build in a metadata file.
    fn digest_in(&self, metadata: &str) -> String {
        let metadata: serde_json::Value = serde_json::from_str(&self.read(metadata)).unwrap();
        metadata["containerimage.digest"].as_str().unwrap().into()
    }
}

fn ran(output: Output) -> Ran {
    Ran {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs another program, which must work, and returns what it prints.
fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let ran =
        ran(output.unwrap_or_else(|error| panic!("{program}: {error}; run cargo xtask setup")));
    assert!(ran.success, "{program} {arguments:?}: {}", ran.stderr);
    ran.stdout
}

#[track_caller]
fn assert_has(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} is not in:\n{text}");
}

#[test]
fn inspect_shows_the_daemon() {
    let buildx = Buildx::start();
    let shown = buildx.must(&["inspect", "--bootstrap"]).stdout;
    for part in [
        "Driver:",
        "remote",
        "running",
        "BuildKit version:",
        "linux/amd64",
    ] {
        assert_has(&shown, part);
    }
    assert_has(&buildx.must(&["ls"]).stdout, "kiln");
}
