//! A daemon as a process of its own, and clients of it.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use kiln_protocol::control::control_client::ControlClient;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

/// How long anything may take before the test is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    dir: tempfile::TempDir,
    child: Child,
    notify: UnixDatagram,
}

impl Daemon {
    /// A daemon at [`Daemon::socket`] that is ready.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = format!("unix://{}", dir.path().join("d.sock").display());
        let flags = [&["--addr", &socket], flags].concat();
        Self::start_in(dir, &flags, |_| {})
    }

    /// A daemon with its state in a directory, whose command may be changed.
    pub(crate) fn start_in(
        dir: tempfile::TempDir,
        flags: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let notify_path = dir.path().join("notify");
        let _ = std::fs::remove_file(&notify_path);
        let notify = UnixDatagram::bind(&notify_path).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let mut command = command(dir.path(), flags);
        command.env("NOTIFY_SOCKET", &notify_path).stderr(log);
        change(&mut command);
        let child = command.spawn().unwrap();
        let daemon = Self { dir, child, notify };
        daemon.expect_notice("READY=1");
        daemon
    }

    /// Stops the daemon and starts another one on the same state.
    pub(crate) fn restart(mut self) -> Self {
        self.signal(Signal::TERM);
        self.child.wait().unwrap();
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        let socket = format!("unix://{}", dir.path().join("d.sock").display());
        Self::start_in(dir, &["--addr", &socket], |_| {})
    }

    /// Waits until the daemon tells its service manager something.
    pub(crate) fn expect_notice(&self, expected: &str) {
        let mut buffer = [0; 256];
        let length = self.notify.recv(&mut buffer);
        let length = length.unwrap_or_else(|error| panic!("{error}; its log:\n{}", self.log()));
        let notice = String::from_utf8_lossy(&buffer[..length]);
        assert!(notice.contains(expected), "{notice:?}");
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join("d.sock")
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap()
    }

    pub(crate) async fn channel(&self) -> Channel {
        connect(&self.socket()).await.unwrap()
    }

    pub(crate) async fn client(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel().await)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        (status, self.log())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program with its state below a directory and no configuration but flags.
pub(crate) fn command(dir: &Path, flags: &[&str]) -> Command {
    let config = dir.join("buildkitd.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_buildkitd"));
    command
        .arg("--config")
        .arg(config)
        .arg("--root")
        .arg(dir.join("root"))
        .args(flags)
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null());
    command
}

/// A connection to a unix socket.
pub(crate) async fn connect(socket: &Path) -> Result<Channel, tonic::transport::Error> {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost")
        .connect_with_connector(connector)
        .await
}
