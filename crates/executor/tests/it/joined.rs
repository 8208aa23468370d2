//! Steps in a network namespace that was made before them.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use kiln_executor::network::{NetworkNamespace, isolated_with_listener};
use kiln_executor::{ExecRequest, Network};
use rstest::rstest;

use crate::fixture::{Fixture, Kind};

/// A namespace in which somebody says `reached` on the port.
fn isolated() -> (NetworkNamespace, u16) {
    let (namespace, listener) = isolated_with_listener().unwrap();
    let port = listener.local_addr().unwrap().port();
    answer(listener, "reached\n");
    (namespace, port)
}

fn answer(listener: TcpListener, text: &'static str) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(text.as_bytes());
        }
    });
}

fn joined(fixture: &Fixture, namespace: &NetworkNamespace, script: &str) -> ExecRequest {
    let mut request = fixture.shell(script);
    request.network = Network::Joined(namespace.clone());
    request
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn a_step_reaches_the_listener_and_nothing_else(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let (namespace, port) = isolated();
    let outside = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let host = outside.local_addr().unwrap().port();
    answer(outside, "the host\n");
    let script = format!(
        "ls /sys/class/net; ip route; nc 127.0.0.1 {port} </dev/null; \
         nc -w 5 127.0.0.1 {host} </dev/null 2>/dev/null || echo not the host; \
         nc -w 5 192.0.2.1 80 </dev/null 2>&1"
    );
    let finished = fixture
        .run(joined(&fixture, &namespace, &script))
        .await
        .unwrap();
    let expected = "lo\nreached\nnot the host\nnc: can't connect to remote host (192.0.2.1): \
                    Network is unreachable\n";
    assert_eq!(finished.stdout, expected, "{finished:?}");
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn several_steps_may_join_one_namespace(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let (namespace, port) = isolated();
    let (other, _) = isolated();
    let script = format!("nc 127.0.0.1 {port} </dev/null; readlink /proc/self/ns/net");
    let first = fixture
        .print_with(joined(&fixture, &namespace, &script))
        .await;
    let second = fixture
        .print_with(joined(&fixture, &namespace, &script))
        .await;
    assert_eq!(first, second);
    let script = "readlink /proc/self/ns/net";
    let third = fixture.print_with(joined(&fixture, &other, script)).await;
    assert!(!first.contains(&third), "{third}");
    // The thread that started them is back in the host's network.
    let host = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(fixture.print(script).await.trim(), host.to_str().unwrap());
}

#[test]
fn namespaces_are_equal_to_their_clones() {
    let (one, _) = isolated();
    let (other, _) = isolated();
    assert_eq!(one, one.clone());
    assert_ne!(one, other);
}
