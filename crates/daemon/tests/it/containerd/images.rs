//! What becomes of an image, by the keys of its output.

use std::process::Command;

use kiln_testkit::registry::Registry;

use super::{HELLO, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_listed_complete_unpacked_and_runs() {
    let scene = Scene::new();
    let name = "docker.io/username/image:latest";
    let built = scene
        .build(HELLO, &[("name", name), ("unpack", "true")])
        .await;
    assert_eq!(scene.names(), [name]);
    let list = scene.ctr(&["images", "ls"]);
    assert!(list.contains(built.digest()), "{list}");
    let check = scene.checked(name);
    assert!(check.contains("complete (2/2)"), "{check}");
    assert!(check.trim_end().ends_with("true"), "{check}");
    assert_eq!(scene.run(name), "hello from the image\n");
    let unpacking = format!("unpacking to {name}");
    assert!(built.steps.contains(&unpacking), "{:?}", built.steps);
    // Nothing is left that only waits to expire.
    assert_eq!(scene.ctr(&["leases", "ls", "-q"]), "");

    // The same again: nothing is made twice.
    let snapshots = scene.ctr(&["snapshots", "ls"]);
    scene.build(HELLO, &[("name", name), ("unpack", "")]).await;
    assert_eq!(scene.ctr(&["snapshots", "ls"]), snapshots);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_unpacked_is_complete_and_can_be_unpacked() {
    let scene = Scene::new();
    for compression in ["gzip", "zstd", "uncompressed"] {
        for types in ["true", "false"] {
            let name = format!("example.com/{compression}:{types}");
            let output = [
                ("name", name.as_str()),
                ("compression", compression),
                ("oci-mediatypes", types),
                ("force-compression", "true"),
            ];
            // Docker's own types have no zstd.
            if (compression, types) != ("zstd", "false") {
                // Other files each time: those of the time before are unpacked already.
                let program = format!("/bin/busybox-{compression}-{types}");
                let dockerfile = HELLO.replace("/bin/busybox", &program);
                scene.build(&dockerfile, &output).await;
                let check = scene.checked(&name);
                assert!(check.contains("complete (2/2)"), "{check}");
                assert!(check.trim_end().ends_with("false"), "{check}");
                assert_eq!(scene.run(&name), "hello from the image\n");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_those_that_the_keys_ask_for() {
    let digest = "DIGEST";
    for (output, expected) in [
        (&[("name", "a")][..], &["a"][..]),
        (
            &[("name", "docker.io/username/image,example.com/b:1")],
            &["docker.io/username/image", "example.com/b:1"],
        ),
        (
            &[("name", "a:1"), ("name-canonical", "true")],
            &["a:1", "a:1@DIGEST"],
        ),
        (
            &[("dangling-name-prefix", "anonymous")],
            &["anonymous@DIGEST"],
        ),
        (
            &[
                ("dangling-name-prefix", "anonymous"),
                ("name-canonical", "true"),
            ],
            &["anonymous@DIGEST"],
        ),
        (
            &[("name", "a"), ("dangling-name-prefix", "b")],
            &["a", "b@DIGEST"],
        ),
        (
            &[
                ("name", "a"),
                ("dangling-name-prefix", "b"),
                ("danging-name-empty-only", "true"),
            ],
            &["a"],
        ),
        (
            &[
                ("dangling-name-prefix", "b"),
                ("dangling-name-empty-only", "true"),
            ],
            &["b@DIGEST"],
        ),
        (&[("name", "a"), ("store", "false")], &[]),
        (&[], &[]),
    ] {
        let scene = Scene::new();
        let built = scene.build(HELLO, output).await;
        let names = scene.names();
        let names: Vec<_> = names
            .iter()
            .map(|name| name.replace(built.digest(), digest))
            .collect();
        assert_eq!(names, expected, "{output:?}");
        let is_warned = built.warnings.iter().any(|it| it.contains("has no name"));
        assert_eq!(is_warned, output.is_empty(), "{:?}", built.warnings);
        if expected.is_empty() {
            assert_eq!(scene.ctr(&["content", "ls", "-q"]), "");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_collection_leaves_images_alone() {
    let scene = Scene::new();
    let unpacked = [("name", "kept:unpacked"), ("unpack", "true")];
    scene.build(HELLO, &unpacked).await;
    let other = format!("{HELLO}LABEL other=1\n");
    scene.build(&other, &[("name", "kept:packed")]).await;
    let more = format!("{HELLO}COPY busybox /more\n");
    scene
        .build(&more, &[("name", "removed:1"), ("unpack", "true")])
        .await;
    let before = scene.ctr(&["content", "ls", "-q"]).lines().count();
    scene.ctr(&["images", "rm", "--sync", "removed:1"]);
    scene.collect();
    let after = scene.ctr(&["content", "ls", "-q"]).lines().count();
    assert_eq!(before - after, 3, "manifest, config and layer are gone");
    for (name, is_unpacked) in [("kept:unpacked", "true"), ("kept:packed", "true")] {
        let check = scene.checked(name);
        assert!(check.contains("complete (2/2)"), "{check}");
        assert!(check.trim_end().ends_with(is_unpacked), "{check}");
        assert_eq!(scene.run(name), "hello from the image\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_several_platforms_is_kept_whole() {
    let scene = Scene::new();
    let own = match std::env::consts::ARCH {
        "aarch64" => "linux/arm64",
        _ => "linux/amd64",
    };
    let platforms = format!("linux/s390x,{own},linux/riscv64");
    let output = [
        ("name", "many:1"),
        ("unpack", "true"),
        ("annotation-index.a", "b"),
    ];
    let dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY busybox /bin/busybox\n\
                      ENV ARCH=$TARGETARCH\nCMD [\"/bin/busybox\", \"env\"]\n";
    let options = [("platform", platforms.as_str())];
    let built = scene.try_build(dockerfile, &options, &output).await;
    built.unwrap();
    let list = scene.ctr(&["images", "ls"]);
    for platform in platforms.split(',') {
        assert!(list.contains(platform), "{list}");
    }
    scene.collect();
    // An index, three manifests and configs, and one layer.
    assert_eq!(scene.ctr(&["content", "ls", "-q"]).lines().count(), 8);
    let check = scene.checked("many:1");
    assert!(check.trim_end().ends_with("true"), "{check}");
    let printed = scene.run("many:1");
    let arch = own.trim_start_matches("linux/");
    assert!(printed.contains(&format!("ARCH={arch}")), "{printed}");

    let foreign = [("platform", "linux/s390x")];
    let output = [("name", "foreign:1"), ("unpack", "true")];
    let built = scene.try_build(HELLO, &foreign, &output).await.unwrap();
    assert!(!built.steps.iter().any(|step| step.contains("unpacking")));
    assert!(scene.names().contains(&"foreign:1".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_layers_has_nothing_to_unpack() {
    let scene = Scene::new();
    let output = [("name", "empty:1"), ("unpack", "true")];
    scene.build("FROM scratch\nLABEL a=b\n", &output).await;
    assert_eq!(scene.names(), ["empty:1"]);
    assert_eq!(scene.ctr(&["snapshots", "ls"]).lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_image_is_kept_as_well() {
    let scene = Scene::new();
    let registry = Registry::start().unwrap();
    let name = format!("{}/pushed:1", registry.host());
    let output = [("name", name.as_str()), ("push", "true")];
    let built = scene.build(HELLO, &output).await;
    assert_eq!(scene.names(), [name.as_str()]);
    let inspect = Command::new("skopeo")
        .args(["inspect", "--tls-verify=false", "--format={{.Digest}}"])
        .arg(format!("docker://{name}"))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&inspect.stdout).trim(),
        built.digest()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_moves_and_the_old_image_is_garbage() {
    let scene = Scene::new();
    let output = [("name", "moves:1"), ("unpack", "true")];
    scene.build(HELLO, &output).await;
    let other = HELLO.replace("hello from", "goodbye from");
    let built = scene.build(&other, &output).await;
    assert_eq!(scene.names(), ["moves:1"]);
    assert_eq!(scene.run("moves:1"), "goodbye from the image\n");
    scene.collect();
    let content = scene.ctr(&["content", "ls", "-q"]);
    assert!(content.contains(built.digest()), "{content}");
    assert_eq!(content.lines().count(), 3, "{content}");
}

#[tokio::test(flavor = "multi_thread")]
async fn times_that_are_rewritten_conflict_with_unpacking() {
    let scene = Scene::new();
    let output = [
        ("name", "a"),
        ("unpack", "true"),
        ("rewrite-timestamp", "true"),
    ];
    let error = scene.try_build(HELLO, &[], &output).await.unwrap_err();
    let expected = "exporter option \"rewrite-timestamp\" conflicts with \"unpack\"";
    assert!(error.to_string().contains(expected), "{error}");
    assert_eq!(scene.names(), [""; 0]);
}
