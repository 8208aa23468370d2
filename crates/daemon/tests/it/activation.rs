//! Sockets that the service manager opens.

use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixListener;

use kiln_protocol::control::InfoRequest;
use kiln_protocol::control::control_client::ControlClient;

use crate::process::{Daemon, command, connect};

#[tokio::test]
async fn passed_sockets_are_used() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passed.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let daemon = Daemon::start_in(dir, &["--addr=fd://"], |command| {
        // A shell puts the socket where the daemon looks for it, and its own
        // process id where the daemon compares it.
        let program = command.get_program().to_owned();
        let arguments = command
            .get_args()
            .map(ToOwned::to_owned)
            .collect::<Vec<_>>();
        let environment = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect::<Vec<_>>();
        let log = std::fs::File::create(path.with_file_name("log")).unwrap();
        rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).unwrap();
        let script = format!(
            "exec 3<&{} {}<&-; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"",
            listener.as_raw_fd(),
            listener.as_raw_fd(),
        );
        let mut shell = std::process::Command::new("sh");
        shell
            .arg("-c")
            .arg(script)
            .arg(program)
            .args(arguments)
            .envs(environment)
            .stderr(log);
        *command = shell;
    });
    let channel = connect(&daemon.path().join("passed.sock")).await.unwrap();
    ControlClient::new(channel)
        .info(InfoRequest {})
        .await
        .unwrap();
}

#[test]
fn without_passed_sockets_there_is_an_explanation() {
    let dir = tempfile::tempdir().unwrap();
    let ran = command(dir.path(), &["--addr=fd://"]).output().unwrap();
    let message = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success());
    assert!(
        message.contains("no sockets found via socket activation"),
        "{message}"
    );
}
