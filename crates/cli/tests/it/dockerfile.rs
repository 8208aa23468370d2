//! Instructions with their effect on files and image configs.

use serde_json::Value;

use crate::world::{World, assert_has, text, tool};

/// Builds on busybox and returns the image config as skopeo reads it.
fn config(dockerfile: &str) -> Value {
    let world = World::with_busybox();
    world.on_busybox(dockerfile);
    world.must_build(&["--output", "type=oci,dest=image.tar"]);
    let archive = format!("oci-archive:{}", text(&world.path("image.tar")));
    serde_json::from_str(&tool("skopeo", &["inspect", "--config", &archive])).unwrap()
}

#[test]
fn metadata_instructions_shape_the_config() {
    let config = config(
        "ENV A=1\nENV B=${A}2\nLABEL l=v\nEXPOSE 80 53/udp\nVOLUME /data\nUSER builder\nWORKDIR w\n\
         STOPSIGNAL SIGINT\nENTRYPOINT [\"/bin/sh\"]\nCMD [\"-c\", \"true\"]\nMAINTAINER me\n",
    );
    let inner = &config["config"];
    let env = inner["Env"].as_array().unwrap();
    assert!(
        env.contains(&"A=1".into()) && env.contains(&"B=12".into()),
        "{env:?}"
    );
    assert_eq!(inner["Labels"]["l"], "v");
    assert!(
        inner["ExposedPorts"]["80/tcp"].is_object() && inner["ExposedPorts"]["53/udp"].is_object()
    );
    assert!(inner["Volumes"]["/data"].is_object());
    assert_eq!(inner["User"], "builder");
    assert_eq!(inner["WorkingDir"], "/w");
    assert_eq!(inner["StopSignal"], "SIGINT");
    assert_eq!(inner["Entrypoint"][0], "/bin/sh");
    assert_eq!(config["author"], "me");
}

/// Builds files into `/out` on busybox and returns the world.
fn files(dockerfile: &str, context: &[(&str, &str)]) -> World {
    let world = World::with_busybox();
    for (path, content) in context {
        world.write(&format!("context/{path}"), content);
    }
    world.on_busybox(&format!(
        "{dockerfile}\nFROM scratch\nCOPY --from=busybox /out /\n"
    ));
    world.must_build(&["--output", "type=local,dest=files"]);
    world
}

#[test]
fn copies_with_flags() {
    let world = files(
        "COPY --chmod=640 --chown=builder:wheel a.txt /out/a\nCOPY --exclude=*.log d /out/d\n\
         COPY --parents d/./x/y.txt /out/p/\nCOPY *.txt /out/t/\nRUN stat -c '%U %G %a' /out/a > /out/stat\n",
        &[
            ("a.txt", "a"),
            ("d/keep", "k"),
            ("d/no.log", "n"),
            ("d/x/y.txt", "y"),
        ],
    );
    assert_eq!(world.read("files/stat"), "builder wheel 640\n");
    assert!(world.exists("files/d/keep") && !world.exists("files/d/no.log"));
    assert_eq!(world.read("files/p/x/y.txt"), "y");
    assert!(world.exists("files/t/a.txt"));
}

#[test]
fn linked_copies_are_layers_of_their_own() {
    let world = files(
        "COPY --link a.txt /out/\nCOPY --link b.txt /out/\n",
        &[("a.txt", "a"), ("b.txt", "b")],
    );
    assert_eq!(world.read("files/a.txt") + &world.read("files/b.txt"), "ab");
}

#[test]
fn archives_are_unpacked_by_add() {
    let world = World::with_busybox();
    world.write("pack/inside", "packed");
    let archive = world.path("context/a.tar.gz");
    tool(
        "tar",
        &[
            "czf",
            text(&archive),
            "-C",
            text(&world.path("pack")),
            "inside",
        ],
    );
    world.on_busybox("ADD a.tar.gz /out/\nFROM scratch\nCOPY --from=busybox /out /\n");
    world.must_build(&["--output", "type=local,dest=files"]);
    assert_eq!(world.read("files/inside"), "packed");
}

#[test]
fn here_documents() {
    let world = files(
        "RUN <<EOT\nmkdir /out\necho one > /out/run\nEOT\nCOPY <<a.txt <<\"b.txt\" /out/\nfirst $HOME\na.txt\nsecond $HOME\nb.txt\n",
        &[],
    );
    assert_eq!(world.read("files/run"), "one\n");
    assert_eq!(world.read("files/b.txt"), "second $HOME\n");
    assert_has(&world.read("files/a.txt"), "first");
}

#[test]
fn arguments_and_expansion() {
    let world = World::with_busybox();
    world.on_busybox(
        "ARG V=default\nARG EMPTY\nENV X=${V:-no} Y=${EMPTY:-fallback} Z=${V:+set} W=${V#de}\n\
         RUN echo $X $Y $Z $W $TARGETARCH > /out\nFROM scratch\nCOPY --from=busybox /out /\n",
    );
    world.must_build(&["--output", "type=local,dest=files"]);
    assert_eq!(world.read("files/out"), "default fallback set fault\n");
    world.must_build(&[
        "--opt",
        "build-arg:V=given",
        "--output",
        "type=local,dest=files",
    ]);
    assert_eq!(world.read("files/out"), "given fallback set given\n");
}

#[test]
fn ignored_files_stay_out() {
    let world = World::with_busybox();
    world.write(
        "context/.dockerignore",
        "# comment\n*.log\n!keep.log\nsub/**/x\n",
    );
    for file in ["a.log", "keep.log", "b.txt", "sub/deep/x", "sub/deep/y"] {
        world.write(&format!("context/src/{file}"), "");
        world.write(&format!("context/{file}"), "");
    }
    world.on_busybox("COPY . /out\nFROM scratch\nCOPY --from=busybox /out /\n");
    world.must_build(&["--output", "type=local,dest=files"]);
    for (file, is_there) in [
        ("a.log", false),
        ("keep.log", true),
        ("b.txt", true),
        ("sub/deep/x", false),
        ("sub/deep/y", true),
    ] {
        assert_eq!(world.exists(&format!("files/{file}")), is_there, "{file}");
    }
}

#[test]
fn platform_arguments_are_set() {
    let world = files(
        "ARG TARGETPLATFORM\nARG BUILDARCH\nRUN mkdir /out && echo $TARGETPLATFORM $BUILDARCH > /out/p\n",
        &[],
    );
    assert_has(&world.read("files/p"), "linux/");
}
