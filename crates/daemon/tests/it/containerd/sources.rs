//! Builds based on images that containerd has.

use kiln_testkit::faults::FaultyProxy;
use kiln_testkit::image::Image;
use kiln_testkit::registry::Registry;
use kiln_testkit::rootfs;

use super::{HELLO, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn images_that_no_registry_has_come_from_containerd() {
    let scene = Scene::new();
    // A registry that has nothing.
    let registry = Registry::start().unwrap();
    let name = format!("{}/base", registry.host());
    let base = scene.build(HELLO, &[("name", &name)]).await;
    let more = |from: &str| format!("FROM {from}\nCOPY --from={name} /bin/busybox /bin/again\n");
    for from in [
        name.clone(),
        format!("{name}:latest"),
        format!("{name}@{}", base.digest()),
    ] {
        for mode in ["local", "default"] {
            let options = [("image-resolve-mode", mode), ("no-cache", "")];
            let output = [("name", "derived:1"), ("unpack", "true")];
            let built = scene.try_build(&more(&from), &options, &output).await;
            built.unwrap_or_else(|error| panic!("{from} {mode}: {error}"));
            assert_eq!(scene.run("derived:1"), "hello from the image\n");
        }
    }
    let pull = [("image-resolve-mode", "pull")];
    let error = scene.try_build(&more(&name), &pull, &[]).await.unwrap_err();
    assert!(error.to_string().contains("not found"), "{error}");
    let missing = format!("{}/missing", registry.host());
    let local = [("image-resolve-mode", "local")];
    let error = scene.try_build(&more(&missing), &local, &[]).await;
    assert!(error.unwrap_err().to_string().contains("not found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_image_runs_steps_and_wins_where_it_is_preferred() {
    let scene = Scene::new();
    let registry = Registry::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    rootfs::busybox(&root).unwrap();
    std::fs::write(root.join("who"), "containerd").unwrap();
    let name = format!("{}/base:1", registry.host());
    let layout = dir.path().join("layout");
    Image::new().layer(&root).write(&layout, &name).unwrap();
    let archive = dir.path().join("archive.tar");
    let tar = std::process::Command::new("tar")
        .arg("-C")
        .arg(&layout)
        .arg("-cf")
        .arg(&archive)
        .arg(".")
        .status();
    assert!(tar.unwrap().success());
    scene.ctr(&["images", "import", archive.to_str().unwrap()]);
    assert_eq!(scene.names(), [name.as_str()]);
    std::fs::write(root.join("who"), "registry").unwrap();
    registry.push_rootfs(&root, "base:1").unwrap();

    let dockerfile = format!("FROM {name}\nRUN cp /who /seen\nCMD [\"cat\", \"/seen\"]\n");
    for (mode, expected) in [
        ("local", "containerd"),
        ("default", "registry"),
        ("pull", "registry"),
    ] {
        let options = [("image-resolve-mode", mode)];
        let output = [("name", "seen:1"), ("unpack", "true")];
        let built = scene.try_build(&dockerfile, &options, &output).await;
        built.unwrap();
        assert_eq!(scene.run("seen:1"), expected, "{mode}");
    }
}

/// The registry takes what a base brings from the base's repository.
#[tokio::test(flavor = "multi_thread")]
async fn layers_of_a_base_are_mounted_by_a_push() {
    let scene = Scene::new();
    let registry = Registry::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    rootfs::busybox(&root).unwrap();
    registry.push_rootfs(&root, "base:1").unwrap();
    let proxy = FaultyProxy::start_with(&registry.host(), |_, _| None).unwrap();
    let name = format!("{}/app:1", proxy.host());
    let dockerfile = format!("FROM {}/base:1\nCOPY busybox /more\n", proxy.host());
    let output = [("name", name.as_str()), ("push", "true")];
    scene.build(&dockerfile, &output).await;
    let lines = proxy.lines();
    let count = |parts: [&str; 2]| {
        let matching = lines
            .iter()
            .filter(|line| parts.iter().all(|part| line.contains(part)));
        matching.count()
    };
    assert_eq!(
        count(["POST /v2/app/blobs/uploads/?mount=", "from=base"]),
        1,
        "{lines:?}"
    );
    assert_eq!(
        count(["PUT ", "/app/blobs/uploads/"]),
        2,
        "a layer and a config: {lines:?}"
    );
    let check = scene.checked(&name);
    assert!(check.contains("complete (3/3)"), "{check}");
}
