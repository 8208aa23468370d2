//! A directory with a store, contexts and outputs for one test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use kiln_testkit::rootfs;

/// Where one test lives; removed with all it holds.
pub(crate) struct World {
    dir: tempfile::TempDir,
}

/// What a command did.
pub(crate) struct Ran {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    /// A world with an empty context.
    pub(crate) fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "end-to-end tests need root"
        );
        let dir = tempfile::Builder::new()
            .prefix("kiln-test-")
            .tempdir()
            .unwrap();
        let world = Self { dir };
        std::fs::create_dir(world.path("context")).unwrap();
        world
    }

    /// A world whose context has a busybox root filesystem in `rootfs`.
    pub(crate) fn with_busybox() -> Self {
        let world = Self::new();
        rootfs::busybox(world.path("context/rootfs")).unwrap();
        world
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    pub(crate) fn write(&self, relative: &str, text: impl AsRef<[u8]>) {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, relative: &str) -> String {
        let path = self.path(relative);
        let bytes = std::fs::read(&path);
        String::from_utf8(bytes.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
            .unwrap()
    }

    pub(crate) fn exists(&self, relative: &str) -> bool {
        self.path(relative).symlink_metadata().is_ok()
    }

    pub(crate) fn dockerfile(&self, text: &str) {
        self.write("context/Dockerfile", text);
    }

    /// A Dockerfile on top of busybox.
    pub(crate) fn on_busybox(&self, text: &str) {
        self.dockerfile(&format!("FROM scratch AS busybox\nCOPY rootfs /\n{text}"));
    }

    /// `buildctl` with this world's store; paths in arguments are relative to
    /// the world.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare_command();
        command.args(["--root", "root"]).args(arguments);
        command
    }

    /// `buildctl` without a choice of engine, and nothing of this machine's
    /// environment that would make one.
    pub(crate) fn bare_command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_buildctl"));
        command
            .current_dir(self.dir.path())
            .env_remove("BUILDKIT_HOST")
            .env_remove("BUILDKIT_PROGRESS")
            .env_remove("SOURCE_DATE_EPOCH")
            .env_remove("XDG_RUNTIME_DIR")
            .env("XDG_DATA_HOME", self.path("data"))
            .env("DOCKER_CONFIG", self.path("docker"));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments).output().unwrap())
    }

    /// `buildctl build` of this world's context.
    pub(crate) fn build_command(&self, arguments: &[&str]) -> Command {
        let mut command =
            self.command(&["build", "--progress=plain", "--frontend", "dockerfile.v0"]);
        command
            .args([
                "--local",
                "context=context",
                "--local",
                "dockerfile=context",
            ])
            .args(arguments);
        command
    }

    pub(crate) fn build(&self, arguments: &[&str]) -> Ran {
        ran(self.build_command(arguments).output().unwrap())
    }

    /// A build that must work; returns its progress.
    pub(crate) fn must_build(&self, arguments: &[&str]) -> String {
        let ran = self.build(arguments);
        assert!(ran.success, "buildctl build failed:\n{}", ran.stderr);
        ran.stderr
    }

    /// A build that must fail; returns its progress with the error.
    pub(crate) fn must_fail(&self, arguments: &[&str]) -> String {
        let ran = self.build(arguments);
        assert!(!ran.success, "buildctl build worked:\n{}", ran.stderr);
        ran.stderr
    }

    /// Starts a build and goes on; its standard error is a pipe.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.build_command(arguments);
        command.stderr(Stdio::piped()).spawn().unwrap()
    }
}

pub(crate) fn ran(output: Output) -> Ran {
    Ran {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs another program, which must work, and returns what it prints.
pub(crate) fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let ran =
        ran(output.unwrap_or_else(|error| panic!("{program}: {error}; run cargo xtask setup")));
    assert!(ran.success, "{program} {arguments:?}: {}", ran.stderr);
    ran.stdout
}

/// The text of a path, for arguments of tools.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The number and the outcome of the step whose name contains `name`, from
/// plain progress: `CACHED`, `DONE`, `ERROR: …`, `CANCELED`.
pub(crate) fn outcome(progress: &str, name: &str) -> String {
    let head = progress
        .lines()
        .find(|line| line.starts_with('#') && line.contains(name));
    let head = head.unwrap_or_else(|| panic!("no step {name:?} in:\n{progress}"));
    let number = format!("{} ", head.split(' ').next().unwrap());
    let lines = progress.lines().rev();
    let mut outcome = lines
        .filter_map(|line| line.strip_prefix(&number))
        .filter_map(|line| {
            ["CACHED", "DONE", "ERROR", "CANCELED"]
                .iter()
                .find(|word| line.starts_with(**word))
        });
    let outcome = outcome.next();
    (*outcome.unwrap_or_else(|| panic!("step {name:?} has no outcome in:\n{progress}"))).to_owned()
}

/// Asserts that a text has a part.
#[track_caller]
pub(crate) fn assert_has(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} is missing in:\n{text}");
}
