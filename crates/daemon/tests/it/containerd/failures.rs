//! Daemons that are killed, and a containerd that goes away.

use rustix::process::Signal;

use super::proxy::Proxy;
use super::{HELLO, Scene, build_on, daemon_of};
use crate::process::command;

const FLAGS: &[&str] = &["--oci-worker=false", "--containerd-worker=true"];

/// Random, so that it stays as long when it is compressed.
fn large_file(scene: &Scene) {
    let mut random = std::fs::File::open("/dev/urandom").unwrap();
    let mut bytes = vec![0; 8 << 20];
    std::io::Read::read_exact(&mut random, &mut bytes).unwrap();
    std::fs::write(scene.dir.path().join("large"), bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_in_the_middle_leaves_no_image_and_the_next_one_completes_it() {
    let scene = Scene::new();
    large_file(&scene);
    let dockerfile = format!("{HELLO}COPY large /\n");
    let output = [("name", "large:1"), ("unpack", "true")];

    let proxy = Proxy::new(&scene.containerd.socket(), 3 << 20);
    let killed = daemon_of(&proxy.socket, FLAGS);
    let building = build_on(&killed, scene.dir.path(), &dockerfile, &[], &output);
    tokio::select! {
        outcome = building => panic!("the build ended: {outcome:?}"),
        () = proxy.stalled() => {}
    }
    killed.signal(Signal::KILL);
    killed.wait();
    proxy.end();
    assert_eq!(scene.names(), [""; 0]);

    scene.build(&dockerfile, &output).await;
    let check = scene.checked("large:1");
    assert!(check.contains("complete"), "{check}");
    assert_eq!(scene.run("large:1"), "hello from the image\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_containerd_that_goes_away_fails_the_build_and_says_so() {
    let mut scene = Scene::new();
    large_file(&scene);
    let dockerfile = format!("{HELLO}COPY large /\n");
    let proxy = Proxy::new(&scene.containerd.socket(), 3 << 20);
    let socket = proxy.socket.display().to_string();
    let daemon = daemon_of(&proxy.socket, FLAGS);
    let output = [("name", "large:1")];
    let building = build_on(&daemon, scene.dir.path(), &dockerfile, &[], &output);
    let ending = async {
        proxy.stalled().await;
        scene.containerd.kill().unwrap();
        proxy.end();
    };
    let (outcome, ()) = tokio::join!(building, ending);
    let error = outcome.unwrap_err().to_string();
    let expected = format!("containerd at {socket} does not answer (");
    assert!(error.contains(&expected), "{error}");
    assert!(error.contains("make sure containerd is running"), "{error}");

    // The daemon itself goes on.
    let output = [("name", "unkept"), ("store", "false")];
    let built = build_on(&daemon, scene.dir.path(), HELLO, &[], &output).await;
    built.unwrap();
}

#[test]
fn a_daemon_does_not_start_without_the_containerd_that_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let address = format!("--containerd-worker-addr={}", socket.display());
    let listen = format!("--addr=unix://{}", dir.path().join("d.sock").display());
    for choice in ["--containerd-worker=auto", "--containerd-worker=true"] {
        let flags = [&*listen, "--oci-worker=false", choice, &*address];
        let output = command(dir.path(), &flags).output().unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8_lossy(&output.stderr);
        let expected = format!("containerd at {} does not answer", socket.display());
        assert!(text.contains(&expected), "{text}");
    }
}
