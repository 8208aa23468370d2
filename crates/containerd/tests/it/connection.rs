//! Addresses, namespaces, and containerds that are not there.

use kiln_containerd::{Address, Containerd, ContainerdError};

use crate::scene::{Scene, client};

#[test]
fn addresses_are_paths_of_sockets() {
    for text in ["/run/c.sock", "unix:///run/c.sock"] {
        let address: Address = text.parse().unwrap();
        assert_eq!(address.path().to_str(), Some("/run/c.sock"));
    }
    for (text, expected) in [
        ("tcp://127.0.0.1:1", "only unix sockets are supported"),
        ("c.sock", "absolute path"),
        ("", "absolute path"),
    ] {
        let error = text.parse::<Address>().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn names_are_checked_before_they_are_sent() {
    let address = Address::default();
    for name in ["", "a/b", "-a", "a-", "a..b", "ä", &"a".repeat(77)] {
        let error = Containerd::new(&address, name).unwrap_err();
        assert!(matches!(error, ContainerdError::Name { .. }), "{name}");
    }
    let containerd = Containerd::new(&address, "k8s.io").unwrap();
    for name in ["", "a/b", "ä"] {
        assert!(containerd.snapshotter(name).is_err(), "{name}");
    }
}

#[tokio::test]
async fn a_server_tells_what_it_is() {
    let scene = Scene::new();
    let info = scene.containerd.server().await.unwrap();
    let told = scene.server.ctr(&["version"]).unwrap();
    assert!(told.contains(&info.version), "{info:?} {told}");
    assert!(told.contains(&info.uuid), "{info:?} {told}");

    assert_eq!(scene.containerd.namespaces().await.unwrap(), [""; 0]);
    scene.containerd.create_namespace().await.unwrap();
    scene.containerd.create_namespace().await.unwrap();
    assert_eq!(scene.containerd.namespaces().await.unwrap(), ["buildkit"]);
}

#[tokio::test]
async fn nobody_at_the_socket_is_an_error_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let error = client(&socket).server().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ContainerdError::Unreachable { .. }));
    let expected = format!("containerd at {} does not answer", socket.display());
    assert!(text.starts_with(&expected), "{text}");
    assert!(text.contains("No such file"), "{text}");
    assert!(text.ends_with("make sure containerd is running"), "{text}");
}

#[tokio::test]
async fn a_server_that_dies_is_an_error_that_says_so() {
    let mut scene = Scene::new();
    scene.containerd.server().await.unwrap();
    scene.server.kill().unwrap();
    let error = scene.containerd.images().list(&[]).await.unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, ContainerdError::Unreachable { .. }),
        "{text}"
    );
    assert!(text.contains("list images"), "{text}");
}
