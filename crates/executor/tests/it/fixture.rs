//! A root filesystem and an executor to run steps in it.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use kiln_executor::native::{NativeExecutor, Options};
use kiln_executor::oci::OciExecutor;
use kiln_executor::{ExecError, ExecIo, ExecRequest, Executor, ExitStatus, Mount};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The implementations under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Native,
    Runc,
    Crun,
}

/// One executor with a busybox root filesystem.
pub(crate) struct Fixture {
    pub(crate) executor: Box<dyn Executor>,
    pub(crate) dir: TempDir,
}

/// What a finished step left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) code: u32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Fixture {
    pub(crate) fn new(kind: Kind) -> Fixture {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests mount file systems and need root"
        );
        let dir = tempfile::tempdir().unwrap();
        kiln_testkit::rootfs::busybox(dir.path().join("rootfs")).unwrap();
        let options = Options::new(dir.path().join("state"));
        let executor: Box<dyn Executor> = match kind {
            Kind::Native => Box::new(NativeExecutor::new(options).unwrap()),
            Kind::Runc => Box::new(OciExecutor::new("runc", options).unwrap()),
            Kind::Crun => Box::new(OciExecutor::new("crun", options).unwrap()),
        };
        Fixture { executor, dir }
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir.path().join("rootfs")
    }

    /// A request to run a program directly in the root filesystem's directory.
    pub(crate) fn request(&self, args: &[&str]) -> ExecRequest {
        ExecRequest::new(
            "step",
            vec![Mount::bind(self.rootfs())],
            args.iter().copied(),
        )
    }

    /// A request to run a shell script.
    pub(crate) fn shell(&self, script: &str) -> ExecRequest {
        self.request(&["/bin/sh", "-c", script])
    }

    pub(crate) async fn run(&self, request: ExecRequest) -> Result<Finished, ExecError> {
        let (stdout, stderr) = (mpsc::channel(4), mpsc::channel(4));
        let io = ExecIo {
            stdout: Some(stdout.0),
            stderr: Some(stderr.0),
            ..ExecIo::default()
        };
        let run = self.executor.run(request, io, CancellationToken::new());
        let (status, stdout, stderr) = tokio::join!(run, text(stdout.1), text(stderr.1));
        Ok(Finished {
            code: status?.code,
            stdout,
            stderr,
        })
    }

    /// Runs a script that must succeed; returns what it printed.
    pub(crate) async fn print(&self, script: &str) -> String {
        self.print_with(self.shell(script)).await
    }

    pub(crate) async fn print_with(&self, request: ExecRequest) -> String {
        let finished = self.run(request).await.unwrap();
        assert_eq!(
            (finished.code, finished.stderr.as_str()),
            (0, ""),
            "{}",
            finished.stdout
        );
        finished.stdout
    }

    pub(crate) async fn status(&self, request: ExecRequest) -> Result<ExitStatus, ExecError> {
        self.executor
            .run(request, ExecIo::default(), CancellationToken::new())
            .await
    }
}

/// Everything that arrives, as text.
pub(crate) async fn text(mut receiver: mpsc::Receiver<Bytes>) -> String {
    let mut all = Vec::new();
    while let Some(bytes) = receiver.recv().await {
        all.extend_from_slice(&bytes);
    }
    String::from_utf8(all).unwrap()
}

/// An overlay over `lower` with its upper directory in `dir`.
pub(crate) fn overlay(lower: &Path, dir: &Path) -> Mount {
    let (upper, work) = (dir.join("upper"), dir.join("work"));
    fs::create_dir_all(&upper).unwrap();
    fs::create_dir_all(&work).unwrap();
    Mount {
        kind: "overlay".to_owned(),
        source: "overlay".into(),
        options: vec![
            format!("lowerdir={}", lower.display()),
            format!("upperdir={}", upper.display()),
            format!("workdir={}", work.display()),
        ],
    }
}

/// Names in a directory, sorted.
pub(crate) fn names(dir: impl AsRef<Path>) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Processes of the machine whose command line contains `word`.
pub(crate) fn processes(word: &str) -> Vec<String> {
    let commands = fs::read_dir("/proc").unwrap().flatten();
    let commands = commands.filter(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .bytes()
            .all(|b| b.is_ascii_digit())
    });
    commands
        .filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok())
        .filter(|command| command.contains(word))
        .collect()
}
