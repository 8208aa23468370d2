//! Ending steps before their time.

use kiln_executor::{Control, ExecError, ExecIo};
use rstest::rstest;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, Kind, processes};

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn cancelling_kills_everything(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let word = format!("31{:?}", kind as u8);
    let script = format!(
        "trap '' TERM INT HUP; (setsid sleep {word}111 &); sleep {word}222 & echo ready; wait"
    );
    let (stdout, mut received) = mpsc::channel(4);
    let io = ExecIo {
        stdout: Some(stdout),
        ..ExecIo::default()
    };
    let cancel = CancellationToken::new();
    let when_ready = async {
        assert_eq!(received.recv().await.unwrap(), "ready\n");
        cancel.cancel();
        while received.recv().await.is_some() {}
    };
    let (result, ()) = tokio::join!(
        fixture
            .executor
            .run(fixture.shell(&script), io, cancel.clone()),
        when_ready
    );
    assert!(matches!(result, Err(ExecError::Cancelled)), "{result:?}");
    assert_eq!(processes(&format!("sleep\0{word}")), Vec::<String>::new());
    assert_eq!(result.unwrap_err().to_string(), "context canceled");
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn cancelled_before_it_starts(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let result = fixture
        .executor
        .run(fixture.shell("sleep 1000"), ExecIo::default(), cancel)
        .await;
    assert!(matches!(result, Err(ExecError::Cancelled)), "{result:?}");
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn a_dropped_run_ends_its_process(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    // A fifo outside tells the end: its reader sees it once nobody has it open for writing any more.
    let fifo = fixture.rootfs().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        0o666.into(),
        0,
    )
    .unwrap();
    let mut reader = tokio::net::unix::pipe::OpenOptions::new()
        .open_receiver(&fifo)
        .unwrap();
    let (started, start) = oneshot::channel();
    let io = ExecIo {
        started: Some(started),
        ..ExecIo::default()
    };
    let mut run = fixture.executor.run(
        fixture.shell("exec >/fifo; echo open; sleep 1000"),
        io,
        CancellationToken::new(),
    );
    let mut byte = [0; 5];
    tokio::select! {
        result = &mut run => panic!("{result:?}"),
        () = async { start.await.unwrap(); reader.read_exact(&mut byte).await.unwrap(); } => {}
    }
    drop(run);
    assert_eq!(reader.read(&mut byte).await.unwrap(), 0);
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn signals_reach_the_process(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let (stdout, received) = mpsc::channel(4);
    let (control, wishes) = mpsc::channel(1);
    let io = ExecIo {
        stdout: Some(stdout),
        control: Some(wishes),
        ..ExecIo::default()
    };
    let script = "trap 'echo got; exit 5' TERM; echo ready; while true; do sleep 0.05; done";
    let (ready, mut receiver) = mpsc::channel(4);
    let forward = async move {
        let mut received = received;
        while let Some(bytes) = received.recv().await {
            if bytes == "ready\n" {
                control.send(Control::Signal(15)).await.unwrap();
            }
            ready.send(bytes).await.unwrap();
        }
    };
    let run = fixture
        .executor
        .run(fixture.shell(script), io, CancellationToken::new());
    let collect = async {
        let mut all = String::new();
        while let Some(bytes) = receiver.recv().await {
            all += std::str::from_utf8(&bytes).unwrap();
        }
        all
    };
    let (status, (), out) = tokio::join!(run, forward, collect);
    assert_eq!((status.unwrap().code, out.as_str()), (5, "ready\ngot\n"));
}
