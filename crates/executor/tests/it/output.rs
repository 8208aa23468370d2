//! Streams: order, amounts, backpressure, input, terminals.

use std::io::Cursor;

use kiln_executor::{Control, ExecIo, Terminal, WindowSize};
use rstest::rstest;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, Kind, text};

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn streams_are_apart_and_in_order(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let finished = fixture
        .run(fixture.shell("for i in 1 2 3; do echo o$i; echo e$i >&2; done"))
        .await
        .unwrap();
    assert_eq!(finished.stdout, "o1\no2\no3\n");
    assert_eq!(finished.stderr, "e1\ne2\ne3\n");
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn large_output_through_a_narrow_channel(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let (stdout, mut received) = mpsc::channel(1);
    let io = ExecIo {
        stdout: Some(stdout),
        ..ExecIo::default()
    };
    let request = fixture.shell("head -c 20000000 /dev/zero; echo end");
    let count = async {
        let mut count = 0;
        while let Some(bytes) = received.recv().await {
            count += bytes.len();
        }
        count
    };
    let (status, count) = tokio::join!(
        fixture.executor.run(request, io, CancellationToken::new()),
        count
    );
    assert!(status.unwrap().success());
    assert_eq!(count, 20_000_004);
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn nobody_listening_is_no_broken_pipe(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let (stdout, received) = mpsc::channel(1);
    drop(received);
    let io = ExecIo {
        stdout: Some(stdout),
        ..ExecIo::default()
    };
    let request = fixture.shell("head -c 1000000 /dev/zero");
    assert!(
        fixture
            .executor
            .run(request, io, CancellationToken::new())
            .await
            .unwrap()
            .success()
    );
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn input_is_read_to_its_end_or_not_at_all(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let (stdout, received) = mpsc::channel(4);
    let input = Cursor::new(vec![b'x'; 200_000]);
    let io = ExecIo {
        stdin: Some(Box::new(input)),
        stdout: Some(stdout),
        ..ExecIo::default()
    };
    let run = fixture
        .executor
        .run(fixture.shell("wc -c"), io, CancellationToken::new());
    let (status, out) = tokio::join!(run, text(received));
    assert!(status.unwrap().success());
    assert_eq!(out.trim(), "200000");

    // Without input there is its end at once, and unread input keeps nobody waiting.
    assert_eq!(fixture.print("cat; echo done").await, "done\n");
    let (never, stdin) = tokio::io::duplex(16);
    let io = ExecIo {
        stdin: Some(Box::new(stdin)),
        ..ExecIo::default()
    };
    assert!(
        fixture
            .executor
            .run(fixture.shell("true"), io, CancellationToken::new())
            .await
            .unwrap()
            .success()
    );
    drop(never);
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn a_terminal_with_a_size(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let (stdout, received) = mpsc::channel(4);
    let (control, wishes) = mpsc::channel(4);
    let (started, start) = oneshot::channel();
    let (mut keyboard, stdin) = tokio::io::duplex(16);
    let io = ExecIo {
        stdin: Some(Box::new(stdin)),
        stdout: Some(stdout),
        control: Some(wishes),
        started: Some(started),
        ..ExecIo::default()
    };
    let mut request = fixture.shell("test -t 0 && test -t 1 && test -t 2 && test -c /dev/console && read line && stty size && echo \"<$line>\"");
    request.terminal = Terminal::Pty;
    let type_in = async {
        start.await.unwrap();
        control
            .send(Control::Resize(WindowSize {
                rows: 33,
                columns: 99,
            }))
            .await
            .unwrap();
        // Taken in order by the executor: once there is room again the first wish has been fulfilled.
        for _ in 0..8 {
            control
                .send(Control::Resize(WindowSize {
                    rows: 33,
                    columns: 99,
                }))
                .await
                .unwrap();
        }
        tokio::io::AsyncWriteExt::write_all(&mut keyboard, b"hello\n")
            .await
            .unwrap();
    };
    let run = fixture.executor.run(request, io, CancellationToken::new());
    let (status, out, ()) = tokio::join!(run, text(received), type_in);
    assert_eq!(
        (status.unwrap().code, out.contains("<hello>")),
        (0, true),
        "{out:?}"
    );
    if kind == Kind::Native {
        assert!(out.contains("33 99"), "{out:?}");
    }
}
