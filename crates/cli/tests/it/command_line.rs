//! Flags and commands beside plain builds.

use std::io::Write as _;
use std::process::Stdio;

use crate::world::{World, assert_has, ran};

#[test]
fn progress_has_many_forms() {
    let world = World::with_busybox();
    world.on_busybox("RUN echo hello\n");
    let run = |progress: &str| {
        let ran = world.run(&[
            "build",
            "--no-cache",
            progress,
            "--frontend",
            "dockerfile.v0",
            "--local",
            "context=context",
            "--local",
            "dockerfile=context",
        ]);
        assert!(ran.success, "{}", ran.stderr);
        ran.stderr
    };
    assert_eq!(run("--progress=quiet"), "");
    for line in run("--progress=rawjson").lines() {
        let update: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(update.is_object(), "{line}");
    }
    assert_has(&run("--progress=plain"), "hello");
    assert_has(&run("--progress=tty"), "FINISHED");
}

#[test]
fn frontends_answer_requests() {
    let world = World::new();
    world.dockerfile("# builds\nFROM scratch AS one\nFROM one AS two\n");
    let ran = ran(world
        .build_command(&["--opt", "requestid=frontend.targets"])
        .output()
        .unwrap());
    assert!(ran.success, "{}", ran.stderr);
    assert_has(&ran.stdout, "one");
    assert_has(&ran.stdout, "two");
}

#[test]
fn definitions_come_by_standard_input_and_can_be_dumped() {
    let world = World::new();
    let definition = kiln_llb_definition();
    let feed = |mut command: std::process::Command| {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&definition).unwrap();
        ran(child.wait_with_output().unwrap())
    };
    let built = feed(world.command(&["build", "--output", "type=local,dest=files"]));
    assert!(built.success, "{}", built.stderr);
    assert_eq!(world.read("files/hello"), "world");
    let dumped = feed(world.command(&["debug", "dump-llb"]));
    assert!(dumped.success, "{}", dumped.stderr);
    assert_has(&dumped.stdout, "/hello");
    let dot = feed(world.command(&["debug", "dump-llb", "--dot"]));
    assert_has(&dot.stdout, "mkfile{path=/hello}");
}

/// What upstream's `buildctl` 0.32 prints for a definition that its library made.
#[test]
fn dumps_are_those_of_upstream() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/definitions");
    let definition = format!("{folder}/many-ops.llb");
    let expected = std::fs::read_to_string(format!("{folder}/many-ops.jsonl")).unwrap();
    let dumped = World::new().run(&["debug", "dump-llb", &definition, "ignored"]);
    assert!(dumped.success, "{}", dumped.stderr);
    assert_eq!(dumped.stdout, expected);
}

/// LLB that makes one file.
pub(crate) fn kiln_llb_definition() -> Vec<u8> {
    use kiln_llb::pb;
    use prost::Message as _;
    let file = pb::FileActionMkFile {
        path: "/hello".into(),
        mode: 0o644,
        data: b"world".as_slice().into(),
        timestamp: -1,
        ..Default::default()
    };
    let action = pb::FileAction {
        input: -1,
        secondary_input: -1,
        output: 0,
        action: Some(pb::file_action::Action::Mkfile(file)),
    };
    let op = pb::Op {
        op: Some(pb::op::Op::File(pb::FileOp {
            actions: vec![action],
        })),
        ..Default::default()
    };
    let bytes = op.encode_to_vec();
    let digest = kiln_llb::digest_of(&bytes).to_string();
    let end = pb::Op {
        inputs: vec![pb::Input { digest, index: 0 }],
        ..Default::default()
    };
    let definition = kiln_llb::Definition {
        ops: vec![bytes.into(), end.encode_to_vec().into()],
        ..Default::default()
    };
    definition.encode().to_vec()
}

#[test]
fn the_root_may_stand_behind_the_command() {
    let world = World::new();
    world.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    let built = world.build(&["--root", "elsewhere", "--ref-file", "ref"]);
    assert!(built.success, "{}", built.stderr);
    assert!(world.exists("elsewhere"));
    assert_eq!(world.read("ref").len(), 25);
}

#[test]
fn the_command_line_is_as_loose_as_upstreams() {
    let world = World::new();
    world.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    let built = world.build(&[
        "--progress=tty",
        "-progress",
        "quiet",
        "--ref-file",
        "first",
        "--ref-file=second",
        "--no-cache=false",
        "-output",
        "type=local,dest=files",
        "extra",
        "words",
    ]);
    assert!(built.success, "{}", built.stderr);
    assert_eq!(built.stderr, "");
    assert!(world.exists("files/Dockerfile"));
    assert!(world.exists("second") && !world.exists("first"));
    let check = |arguments: &[&str], expected: &str| {
        let ran = world.run(arguments);
        assert!(ran.success, "{arguments:?}: {}", ran.stderr);
        assert_has(&ran.stdout, expected);
    };
    check(&["du", "--verbose=false", "extra"], "RECLAIMABLE");
    check(&["du", "-verbose=1"], "Reclaimable:");
    check(
        &["prune", "--all=false", "--keep-duration", "-1s"],
        "Total:",
    );
}

#[test]
fn help_and_version_are_answers() {
    let world = World::new();
    let check = |arguments: &[&str], expected: &str| {
        let ran = ran(world.bare_command().args(arguments).output().unwrap());
        assert!(ran.success, "{arguments:?}: {}", ran.stderr);
        assert_eq!(ran.stderr, "", "{arguments:?}");
        assert_has(&ran.stdout, expected);
    };
    check(&[], "Usage: buildctl ");
    check(&["debug"], "Usage: buildctl debug ");
    check(&["h"], "Usage: buildctl ");
    check(&["help", "du"], "Usage: buildctl du ");
    check(&["du", "-help"], "Usage: buildctl du ");
    for flag in ["-v", "-V", "--version", "-version"] {
        check(&[flag], concat!("buildctl ", env!("CARGO_PKG_VERSION")));
    }
    let wrong = world.run(&["build", "-progess", "plain"]);
    assert!(!wrong.success);
    assert_has(&wrong.stderr, "'--progress'");
}

#[test]
fn logs_have_no_colors_in_a_pipe() {
    let world = World::new();
    let ran = ran(world
        .bare_command()
        .args([
            "--debug",
            "--wait",
            "--timeout=1",
            "--addr=unix:///nosuch",
            "du",
        ])
        .output()
        .unwrap());
    assert_has(&ran.stderr, "DEBUG");
    assert!(!ran.stderr.contains('\x1b'), "{}", ran.stderr);
}

#[test]
fn metadata_is_only_written_if_there_is_some() {
    let world = World::new();
    world.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    world.must_build(&["--metadata-file", "metadata"]);
    assert!(!world.exists("metadata"));
    world.must_build(&["--metadata-file", "metadata", "--output", "type=oci,dest=o"]);
    assert_has(&world.read("metadata"), "containerimage.digest");
}

#[test]
fn builds_of_nothing_say_what_to_give() {
    let world = World::new();
    let ran = world.run(&["build"]);
    assert!(!ran.success);
    assert_has(
        &ran.stderr,
        "please specify --frontend or pipe LLB definition to stdin",
    );
}

#[test]
fn wrong_colors_are_told() {
    let world = World::new();
    let mut command = world.command(&["du"]);
    let ran = ran(command
        .env("BUILDKIT_COLORS", "step=red:run=nonsense")
        .output()
        .unwrap());
    assert!(ran.success, "{}", ran.stderr);
    assert_has(
        &ran.stderr,
        "warning: BUILDKIT_COLORS: unknown name \"step\"",
    );
    assert_has(&ran.stderr, "unknown color \"nonsense\"");
}
