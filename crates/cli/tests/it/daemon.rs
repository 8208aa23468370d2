//! Our own daemon for one test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::world::{World, ran};

/// Who does the work of a build.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Engine {
    /// `buildctl` itself.
    Own,
    Daemon,
}

impl Engine {
    pub(crate) const BOTH: [Self; 2] = [Self::Own, Self::Daemon];
}

/// A running `buildkitd` with its state in a world; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
    /// Its address.
    pub(crate) address: String,
}

/// The daemon is in another package, so cargo does not build it for these
/// tests alone: builds of the whole workspace, such as `cargo xtask test`,
/// put it beside `buildctl`.
fn binary() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_buildctl")).with_file_name("buildkitd");
    assert!(
        binary.is_file(),
        "{} is missing: run cargo build -p kiln-daemon --bin buildkitd",
        binary.display()
    );
    binary
}

impl Daemon {
    /// Starts the daemon and waits until it answers.
    pub(crate) fn start(world: &World) -> Self {
        Self::with(world, &[])
    }

    /// Starts the daemon with more flags.
    pub(crate) fn with(world: &World, flags: &[&str]) -> Self {
        Self::start_with(world, "", flags)
    }

    /// Starts the daemon with this in its configuration file.
    pub(crate) fn configured(world: &World, settings: &str) -> Self {
        Self::start_with(world, settings, &[])
    }

    /// Starts the daemon so that it trusts the certificates of this file alone.
    pub(crate) fn trusting(world: &World, certificates: &Path) -> Self {
        let variable = ("SSL_CERT_FILE", certificates);
        Self::start_in(world, "", &[], Some(variable))
    }

    fn start_with(world: &World, settings: &str, flags: &[&str]) -> Self {
        Self::start_in(world, settings, flags, None)
    }

    fn start_in(
        world: &World,
        settings: &str,
        flags: &[&str],
        variable: Option<(&str, &Path)>,
    ) -> Self {
        let address = format!("unix://{}", world.path("buildkitd.sock").display());
        let log = world.path("buildkitd.log");
        world.write("buildkitd.toml", settings);
        let child = Command::new(binary())
            .current_dir(world.path("."))
            .args(["--config", "buildkitd.toml", "--addr", &address])
            .args(if flags.contains(&"--root") {
                &[][..]
            } else {
                &["--root", "daemon"]
            })
            .args(flags)
            .envs(variable)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let daemon = Self {
            child,
            log,
            address,
        };
        let arguments = ["--wait", "--timeout", "60", "debug", "info"];
        let answer = ran(daemon.command(world, &arguments).output().unwrap());
        assert!(answer.success, "{}", answer.stderr);
        daemon
    }

    /// `buildctl` that uses this daemon.
    pub(crate) fn command(&self, world: &World, arguments: &[&str]) -> Command {
        let mut command = world.bare_command();
        command.args(["--addr", &self.address]).args(arguments);
        command
    }

    /// A command that must work; gives what it prints.
    pub(crate) fn must(&self, world: &World, arguments: &[&str]) -> String {
        let ran = ran(self.command(world, arguments).output().unwrap());
        assert!(ran.success, "{arguments:?}:\n{}", ran.stderr);
        ran.stdout
    }

    /// A build of the world's context.
    pub(crate) fn build_command(&self, world: &World, arguments: &[&str]) -> Command {
        let mut command = self.command(world, &["build", "--progress=plain"]);
        command
            .args(["--frontend", "dockerfile.v0"])
            .args([
                "--local",
                "context=context",
                "--local",
                "dockerfile=context",
            ])
            .args(arguments);
        command
    }

    /// A build that must work; gives its progress.
    pub(crate) fn must_build(&self, world: &World, arguments: &[&str]) -> String {
        let ran = ran(self.build_command(world, arguments).output().unwrap());
        assert!(ran.success, "buildctl build failed:\n{}", ran.stderr);
        ran.stderr
    }

    /// A build that must fail; gives its progress with the error.
    pub(crate) fn must_fail(&self, world: &World, arguments: &[&str]) -> String {
        let ran = ran(self.build_command(world, arguments).output().unwrap());
        assert!(!ran.success, "buildctl build worked:\n{}", ran.stderr);
        ran.stderr
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read(&self.log).unwrap_or_default();
            eprintln!("the daemon said:\n{}", String::from_utf8_lossy(&log));
        }
    }
}
