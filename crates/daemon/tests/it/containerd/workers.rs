//! Which workers there are, and which of them builds.

use super::{HELLO, Scene, connect};

const LABEL: &str = "org.mobyproject.buildkit.worker.";

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_is_described_as_configured() {
    let scene = Scene::with(&[
        "--oci-worker=false",
        "--containerd-worker-namespace=other",
        "--containerd-worker-snapshotter=native",
        "--containerd-worker-labels=com.example.a=b",
        "--containerd-worker-platform=linux/arm64",
        "--containerd-worker-gc-keepstorage=7",
    ]);
    let client = connect(&scene.daemon).await;
    let workers = client.workers(&[]).await.unwrap();
    let [worker] = workers.as_slice() else {
        panic!("{workers:?}");
    };
    let label = |name: &str| worker.labels[&format!("{LABEL}{name}")].as_str();
    assert_eq!(label("executor"), "containerd");
    assert_eq!(label("snapshotter"), "native");
    assert_eq!(label("containerd.namespace"), "other");
    let version = scene.ctr(&["version"]);
    assert!(version.contains(label("containerd.uuid")), "{version}");
    assert_eq!(worker.labels["com.example.a"], "b");
    assert_eq!(worker.platforms.len(), 1);
    let mut rules = worker.gc_rules.iter();
    assert!(rules.any(|rule| rule.reserved_space == 7_000_000));

    let output = [("name", "a:1"), ("unpack", "true")];
    scene.build(HELLO, &output).await;
    assert_eq!(scene.names(), [""; 0]);
    let other = scene.ctr(&["--namespace=other", "images", "check"]);
    assert!(other.contains("a:1"), "{other}");
    let snapshots = [
        "--namespace=other",
        "snapshots",
        "--snapshotter=native",
        "ls",
    ];
    let snapshots = scene.ctr(&snapshots);
    assert_eq!(snapshots.lines().count(), 2, "{snapshots}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oci_worker_comes_first() {
    for choice in ["--containerd-worker=true", "--containerd-worker=auto"] {
        let scene = Scene::with(&[choice]);
        let client = connect(&scene.daemon).await;
        let workers = client.workers(&[]).await.unwrap();
        let executors = workers
            .iter()
            .map(|worker| worker.labels[&format!("{LABEL}executor")].as_str());
        assert_eq!(executors.collect::<Vec<_>>(), ["oci", "containerd"]);
        assert_ne!(workers[0].id, workers[1].id);
        let filter = format!("labels.\"{LABEL}executor\"==containerd");
        let found = client.workers(&[filter]).await.unwrap();
        assert_eq!(found, workers[1..]);

        scene
            .build(HELLO, &[("name", "a:1"), ("unpack", "true")])
            .await;
        assert_eq!(scene.names(), [""; 0]);
        let is_warned = scene.daemon.log().contains("builds use worker.oci");
        assert_eq!(is_warned, choice.ends_with("true"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_off_or_not_there_is_not_listed() {
    let off = Scene::with(&["--containerd-worker=false"]);
    let mut gone = Scene::with(&[]);
    gone.containerd.kill().unwrap();
    let gone = super::daemon_of(&gone.containerd.socket(), &[]);
    for daemon in [&off.daemon, &gone] {
        let workers = connect(daemon).await.workers(&[]).await.unwrap();
        assert_eq!(workers.len(), 1);
    }
    assert!(gone.log().contains("skipping containerd worker"));
}
