//! Layers become snapshots.

use std::fs::File;

use kiln_containerd::{DEFAULT_SNAPSHOTTER, SnapshotKind, UnpackLayer, chain_id};
use kiln_testkit::image::{Compression, Image};
use kiln_testkit::rootfs;
use oci_spec::image::{Descriptor, Digest, ImageConfiguration, ImageManifest};
use serde_json::from_slice;

use crate::scene::{Scene, digest, of_file};

/// An image of two layers, its blobs given to containerd under a lease.
async fn layers(scene: &Scene, lease: &kiln_containerd::Lease) -> Vec<UnpackLayer> {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    rootfs::files(&one, &[("a", "first"), ("b", "stays")]).unwrap();
    rootfs::files(&two, &[("a", "second")]).unwrap();
    let layout = dir.path().join("layout");
    let image = Image::new().layer(one).layer_as(two, Compression::Zstd);
    let written = image.write(&layout, "image").unwrap();
    let path = |digest: &str| layout.join("blobs").join(digest.replacen(':', "/", 1));
    let read = |digest: &str| std::fs::read(path(digest)).unwrap();
    let manifest: ImageManifest = from_slice(&read(&written.digest)).unwrap();
    let config = read(manifest.config().digest().as_ref());
    let config: ImageConfiguration = from_slice(&config).unwrap();
    let content = scene.containerd.under(lease).content();
    let mut layers = Vec::new();
    for (blob, diff_id) in manifest.layers().iter().zip(config.rootfs().diff_ids()) {
        let file = File::open(path(blob.digest().as_ref())).unwrap();
        let to_write = of_file(file, blob.digest().clone());
        content.write(&to_write, &|_| {}).await.unwrap();
        layers.push(UnpackLayer {
            blob: blob.clone(),
            diff_id: diff_id.parse().unwrap(),
        });
    }
    layers
}

#[test]
fn chains_have_the_names_of_the_specification() {
    let ids = ["one", "two", "three"].map(|text| digest(text.as_bytes()));
    assert_eq!(chain_id(&[] as &[Digest]), None);
    assert_eq!(chain_id(&ids[..1]), Some(ids[0].to_string()));
    let two = digest(format!("{} {}", ids[0], ids[1]).as_bytes());
    assert_eq!(chain_id(&ids[..2]), Some(two.to_string()));
    let three = digest(format!("{two} {}", ids[2]).as_bytes());
    assert_eq!(chain_id(&ids), Some(three.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_are_unpacked_once_and_kept_by_the_lease() {
    let scene = Scene::new();
    let lease = scene.lease().await;
    let layers = layers(&scene, &lease).await;
    let snapshotter = scene.containerd.under(&lease);
    let snapshotter = snapshotter.snapshotter(DEFAULT_SNAPSHOTTER).unwrap();
    let one = snapshotter.unpack(&layers, &lease, &|_| {});
    let two = snapshotter.unpack(&layers, &lease, &|_| {});
    let (one, two) = tokio::join!(one, two);
    let top = one.unwrap().unwrap();
    assert_eq!(two.unwrap().unwrap(), top);
    let info = snapshotter.stat(&top).await.unwrap().unwrap();
    assert_eq!(info.kind, SnapshotKind::Committed);
    assert_eq!(info.parent, layers[0].diff_id.to_string());
    let list = scene.server.ctr(&["snapshots", "ls"]).unwrap();
    assert_eq!(list.lines().count(), 3, "{list}");

    // Unlike a view, what `ctr` prepares is safe from containerd's collector.
    let mount = scene
        .server
        .ctr(&["snapshots", "prepare", "look", &top])
        .and_then(|_| scene.server.ctr(&["snapshots", "mounts", "/m", "look"]));
    assert!(mount.unwrap().contains("overlay"));
    scene.server.ctr(&["snapshots", "rm", "look"]).unwrap();

    scene.collect();
    assert!(snapshotter.stat(&top).await.unwrap().is_some());
    lease.release().await.unwrap();
    scene.collect();
    assert_eq!(snapshotter.stat(&top).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_not_what_it_should_be_leaves_nothing() {
    let scene = Scene::new();
    let lease = scene.lease().await;
    let mut layers = layers(&scene, &lease).await;
    layers[1].diff_id = digest(b"another");
    let snapshotter = scene.containerd.under(&lease);
    let snapshotter = snapshotter.snapshotter(DEFAULT_SNAPSHOTTER).unwrap();
    let error = snapshotter.unpack(&layers, &lease, &|_| {}).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("its tar is sha256:"), "{error}");
    let list = scene.server.ctr(&["snapshots", "ls"]).unwrap();
    assert_eq!(list.lines().count(), 2, "{list}");

    let missing = Descriptor::new(layers[0].blob.media_type().clone(), 7, digest(b"not there"));
    layers[0].blob = missing;
    layers[0].diff_id = digest(b"nor this");
    let error = snapshotter.unpack(&layers[..1], &lease, &|_| {}).await;
    assert!(error.unwrap_err().is_not_found());

    let unknown = scene.containerd.snapshotter("unknown").unwrap();
    let error = unknown.prepare("key", "").await.unwrap_err().to_string();
    assert!(error.contains("of unknown"), "{error}");
}
