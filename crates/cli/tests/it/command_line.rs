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
