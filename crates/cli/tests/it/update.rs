//! `update=true`: archives that are added to, and always hold one whole image for others' tools.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::daemon::Daemon;
use crate::world::{World, assert_has, text, tool};

/// The layer that stays is much larger than the one that changes.
const KEPT: usize = 3 << 20;
const CHANGED: usize = 200 << 10;
/// What names an image, and the ends of archives.
const NAMING: u64 = 32 << 10;

fn start() -> World {
    let world = World::new();
    world.dockerfile("FROM scratch\nCOPY kept /kept\nCOPY changed /changed\n");
    world.write("context/kept", vec![b'k'; KEPT]);
    change(&world, b'a');
    world
}

fn change(world: &World, byte: u8) {
    world.write("context/changed", vec![byte; CHANGED]);
}

/// Keys that make no layer smaller.
fn output(kind: &str, more: &str) -> String {
    format!("type={kind},dest=out.tar,name=example.com/a:1,compression=uncompressed{more}")
}

fn update(world: &World, kind: &str) -> String {
    world.must_build(&["--output", &output(kind, ",update=true")])
}

fn archive(world: &World) -> Vec<u8> {
    fs::read(world.path("out.tar")).unwrap()
}

/// What the changed file has in the image that others find.
fn changed_byte(world: &World, from: &str) -> u8 {
    let path = world.path("out.tar");
    let layout = world.path("found");
    let _ = fs::remove_dir_all(&layout);
    let from = format!("{from}:{}", text(&path));
    let to = format!("dir:{}", text(&layout));
    tool(
        "skopeo",
        &["copy", "--quiet", "--insecure-policy", &from, &to],
    );
    let manifest: Value =
        serde_json::from_slice(&fs::read(layout.join("manifest.json")).unwrap()).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let digest = layers.last().unwrap()["digest"].as_str().unwrap();
    let layer = layout.join(digest.trim_start_matches("sha256:"));
    let content = tool("tar", &["-xOf", text(&layer), "changed"]);
    assert_eq!(content.len(), CHANGED);
    content.as_bytes()[0]
}

#[test]
fn only_what_is_new_is_written() {
    for (kind, from) in [("oci", "oci-archive"), ("docker", "docker-archive")] {
        let world = start();
        update(&world, kind);
        let first = archive(&world);
        world.must_build(&[
            "--output",
            &output(kind, "").replace("out.tar", "plain.tar"),
        ]);
        assert!(first == fs::read(world.path("plain.tar")).unwrap());

        update(&world, kind);
        assert!(
            archive(&world) == first,
            "an unchanged image changes its archive"
        );

        for byte in [b'b', b'c', b'd'] {
            let before = archive(&world);
            change(&world, byte);
            let progress = update(&world, kind);
            assert_has(&progress, "1 layers are there already");
            let after = archive(&world);
            let grown = (after.len() - before.len()) as u64;
            assert!(
                (CHANGED as u64..CHANGED as u64 + NAMING).contains(&grown),
                "{grown}"
            );
            let kept = before
                .iter()
                .zip(&after)
                .take_while(|(one, other)| one == other);
            assert!(kept.count() > KEPT);
            assert_eq!(changed_byte(&world, from), byte);
        }
        // Every blob is still what its name says.
        fs::create_dir(world.path("all")).unwrap();
        tool(
            "tar",
            &[
                "-xf",
                text(&world.path("out.tar")),
                "-C",
                text(&world.path("all")),
            ],
        );
        for blob in fs::read_dir(world.path("all/blobs/sha256")).unwrap() {
            let blob = blob.unwrap().path();
            let sum = tool("sha256sum", &[text(&blob)]);
            assert!(
                sum.starts_with(blob.file_name().unwrap().to_str().unwrap()),
                "{sum}"
            );
        }
    }
}

#[test]
fn an_interrupted_update_leaves_the_old_image() {
    let world = start();
    update(&world, "docker");
    // A build that dies while it writes.
    change(&world, b'b');
    world.write("context/changed", vec![b'b'; 64 << 20]);
    let length = fs::metadata(world.path("out.tar")).unwrap().len();
    let arguments = ["--output", &output("docker", ",update=true")];
    let mut build = world
        .build_command(&arguments)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while fs::metadata(world.path("out.tar")).unwrap().len() < length + (1 << 20) {
        assert!(
            build.try_wait().unwrap().is_none(),
            "the build was over too soon"
        );
        std::thread::yield_now();
    }
    build.kill().unwrap();
    build.wait().unwrap();
    assert_eq!(changed_byte(&world, "docker-archive"), b'a');
    assert_eq!(changed_byte(&world, "oci-archive"), b'a');
    // The next one takes its place.
    change(&world, b'c');
    update(&world, "docker");
    assert_eq!(changed_byte(&world, "docker-archive"), b'c');
    assert!(fs::metadata(world.path("out.tar")).unwrap().len() < length + 2 * CHANGED as u64);
}

#[test]
fn archives_of_other_forms_and_mostly_of_the_past_are_written_anew() {
    let world = start();
    world.must_build(&[
        "--output",
        &output("oci", "").replace("out.tar", "plain.tar"),
    ]);
    let plain = fs::read(world.path("plain.tar")).unwrap();
    // GNU tar has another order and other ends.
    world.write("other/index.json", "{}");
    world.write("other/zz", "");
    tool(
        "tar",
        &[
            "-cf",
            text(&world.path("out.tar")),
            "-C",
            text(&world.path("other")),
            ".",
        ],
    );
    update(&world, "oci");
    assert!(archive(&world) == plain);
    world.write("out.tar", "no archive at all");
    update(&world, "oci");
    assert!(archive(&world) == plain);
    // An image that uses little of what is there.
    world.dockerfile("FROM scratch\nCOPY changed /changed\n");
    update(&world, "oci");
    let with_past = archive(&world).len();
    change(&world, b'b');
    update(&world, "oci");
    assert!(archive(&world).len() < with_past / 4);
    assert_eq!(changed_byte(&world, "oci-archive"), b'b');
    let left = fs::read_dir(world.path(".")).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(
        left.filter(|name| name.contains("out.tar"))
            .collect::<Vec<_>>(),
        ["out.tar"]
    );
}

#[test]
fn a_daemon_sends_only_what_is_new() {
    let world = start();
    let daemon = Daemon::start(&world);
    let output = output("docker", ",update=true");
    for byte in [b'a', b'b'] {
        change(&world, byte);
        let progress = daemon.must_build(&world, &["--output", &output]);
        assert_eq!(
            progress.contains("1 layers are there already"),
            byte == b'b',
            "{progress}"
        );
        assert_eq!(changed_byte(&world, "docker-archive"), byte);
    }
    let length = archive(&world).len();
    assert!(
        length < KEPT + 2 * CHANGED + 2 * NAMING as usize,
        "{length}"
    );
}

#[test]
fn layout_directories_keep_other_images() {
    let world = start();
    let output =
        |tag: &str| format!("type=oci,tar=false,update=true,dest=layout,name=example.com/a:{tag}");
    world.must_build(&["--output", &output("1")]);
    let inspect = |tag: &str| {
        tool(
            "skopeo",
            &[
                "inspect",
                "--raw",
                &format!("oci:{}:{tag}", text(&world.path("layout"))),
            ],
        )
    };
    let first = inspect("1");
    change(&world, b'b');
    world.must_build(&["--output", &output("2")]);
    assert_eq!(inspect("1"), first);
    assert_ne!(inspect("2"), first);
}

#[test]
fn what_cannot_be_updated_is_named() {
    let world = start();
    let fail = |output: &str| world.must_fail(&["--output", output]);
    assert_has(
        &fail("type=oci,update=true"),
        "update=true needs a file to update: add dest=FILE",
    );
    assert_has(
        &fail("type=oci,dest=out.tar,update=maybe"),
        "non-bool value specified for update",
    );
    assert_has(
        &fail("type=tar,dest=out.tar,update=true"),
        "unknown key \"update\"",
    );
    update(&world, "oci");
    let file = fs::File::open(world.path("out.tar")).unwrap();
    file.lock().unwrap();
    assert_has(
        &fail(&output("oci", ",update=true")),
        "another build is updating this archive",
    );
    drop(file);
    let mut file = fs::File::options()
        .append(true)
        .open(world.path("out.tar"))
        .unwrap();
    file.write_all(b"left by an interrupted update").unwrap();
    update(&world, "oci");
}
