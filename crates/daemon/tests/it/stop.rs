//! How a daemon ends.

use std::time::Duration;

use kiln_protocol::control::control_client::ControlClient;
use kiln_protocol::control::{InfoRequest, SolveRequest, StatusRequest};
use kiln_testkit::registry::Registry;
use kiln_testkit::rootfs;
use rustix::process::Signal;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::llb;
use crate::process::{Daemon, command, connect};

/// A registry with an image to run commands in.
struct Image {
    registry: Registry,
    _rootfs: tempfile::TempDir,
}

impl Image {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        rootfs::busybox(dir.path()).unwrap();
        let registry = Registry::start().unwrap();
        registry.push_rootfs(dir.path(), "busybox:latest").unwrap();
        Self {
            registry,
            _rootfs: dir,
        }
    }

    fn shell(&self, build: &str, script: &str) -> SolveRequest {
        let image = format!("{}/busybox:latest", self.registry.host());
        llb::solve(build, llb::shell(&image, script))
    }
}

/// Begins a build and waits until its command says something.
async fn begin(
    client: &ControlClient<Channel>,
    request: SolveRequest,
) -> tokio::task::JoinHandle<Result<(), Status>> {
    let build = request.r#ref.clone();
    let mut solving = client.clone();
    let solved = tokio::spawn(async move { solving.solve(request).await.map(drop) });
    let request = StatusRequest { r#ref: build };
    let mut news = client.clone().status(request).await.unwrap().into_inner();
    while let Some(message) = news.message().await.unwrap() {
        if !message.logs.is_empty() {
            return solved;
        }
    }
    panic!("{:?}", solved.await);
}

#[tokio::test]
async fn builds_in_flight_are_waited_for() {
    let image = Image::new();
    let daemon = Daemon::start(&[]);
    let client = daemon.client().await;
    let gate = "until [ -e /proc/1/root/none ] || [ $n = 30 ]; do n=$((n+1)); sleep 0.1; done";
    let request = image.shell("slow", &format!("echo begun; n=0; {gate}; echo done"));
    let solved = begin(&client, request).await;
    daemon.signal(Signal::TERM);
    daemon.expect_notice("STOPPING=1");
    let refused = client
        .clone()
        .solve(llb::solve("late", llb::file("x")))
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
    let closed = async {
        while connect(&daemon.socket()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let closed = tokio::time::timeout(Duration::from_secs(60), closed).await;
    closed.expect("it takes no more clients");
    solved.await.unwrap().unwrap();
    drop(client);
    let (status, log) = daemon.wait();
    assert!(status.success(), "{log}");
}

#[tokio::test]
async fn builds_that_take_too_long_are_cancelled_with_a_clear_error() {
    let image = Image::new();
    let daemon = Daemon::start(&["--stop-timeout=0"]);
    let client = daemon.client().await;
    let solved = begin(&client, image.shell("endless", "echo begun; sleep 1000")).await;
    daemon.signal(Signal::TERM);
    let error = solved.await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("shutting down"), "{error}");
    let socket = daemon.socket();
    let (status, log) = daemon.wait();
    assert!(status.success(), "{log}");
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let image = Image::new();
    let daemon = Daemon::start(&["--stop-timeout=1h"]);
    let client = daemon.client().await;
    let _solved = begin(&client, image.shell("endless", "echo begun; sleep 1000")).await;
    daemon.signal(Signal::TERM);
    daemon.expect_notice("STOPPING=1");
    daemon.signal(Signal::INT);
    let (status, log) = daemon.wait();
    assert!(!status.success());
    assert!(log.contains("stopped at once"), "{log}");
}

#[tokio::test]
async fn a_build_ends_when_its_client_leaves() {
    let image = Image::new();
    let daemon = Daemon::start(&[]);
    let client = daemon.client().await;
    let own = daemon.client().await;
    let solved = begin(&own, image.shell("left", "echo begun; sleep 1000")).await;
    solved.abort();
    drop(own);
    let request = StatusRequest {
        r#ref: "left".into(),
    };
    let mut news = client.clone().status(request).await.unwrap().into_inner();
    // Ends only if the build does.
    while news.message().await.unwrap().is_some() {}
}

#[tokio::test]
async fn two_daemons_do_not_share_a_socket() {
    let first = Daemon::start(&[]);
    let socket = format!("unix://{}", first.socket().display());
    let second = command(first.path(), &["--addr", &socket])
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success());
    assert!(
        message.contains("another daemon is listening at unix://"),
        "{message}"
    );
    first.client().await.info(InfoRequest {}).await.unwrap();

    let path = first.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let stale = format!("unix://{}", path.display());
    let third = Daemon::start_in(tempfile::tempdir().unwrap(), &["--addr", &stale], |_| {});
    let channel = connect(&path).await.unwrap();
    ControlClient::new(channel)
        .info(InfoRequest {})
        .await
        .unwrap();
    drop(third);

    let file = first.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let address = format!("unix://{}", file.display());
    let fourth = command(first.path(), &["--addr", &address])
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&fourth.stderr);
    assert!(message.contains("is not a socket"), "{message}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[tokio::test]
async fn sockets_belong_to_whom_they_should() {
    use std::os::unix::fs::MetadataExt as _;
    let daemon = Daemon::start(&["--group=12"]);
    let metadata = std::fs::metadata(daemon.socket()).unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o660);
    assert_eq!(metadata.gid(), 12);
}
