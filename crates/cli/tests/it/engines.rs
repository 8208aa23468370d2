//! Which engine a command uses, and what the one in this process says of
//! itself.

use std::os::unix::net::UnixListener;

use serde_json::Value;

use crate::world::{World, assert_has, ran};

/// Runs `buildctl` with a variable and arguments; gives what it complains of.
fn complaint(world: &World, host: &str, arguments: &[&str]) -> String {
    let mut command = world.bare_command();
    if !host.is_empty() {
        command.env("BUILDKIT_HOST", host);
    }
    let ran = ran(command.args(arguments).output().unwrap());
    assert!(!ran.success, "{}", ran.stdout);
    ran.stderr
}

#[test]
fn daemons_that_do_not_answer_are_named() {
    let world = World::new();
    let socket = format!("unix://{}", world.path("none.sock").display());
    for (host, arguments) in [
        (socket.as_str(), vec!["du"]),
        ("", vec!["--addr", &socket, "du"]),
        ("embedded:", vec!["du", "--addr", &socket]),
    ] {
        let error = complaint(&world, host, &arguments);
        assert_has(&error, &format!("failed to dial {socket:?}"));
        assert_has(&error, "make sure buildkitd is running");
    }
}

#[test]
fn a_silent_daemon_is_given_up() {
    let world = World::new();
    let path = world.path("silent.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let socket = format!("unix://{}", path.display());
    let error = complaint(&world, &socket, &["--wait", "--timeout", "1", "du"]);
    assert_has(&error, "no answer within 1s");
}

#[test]
fn wrong_choices_are_explained() {
    let world = World::new();
    let check = |arguments: &[&str], expected: &str| {
        assert_has(&complaint(&world, "", arguments), expected);
    };
    check(&["--addr", "nowhere", "du"], "invalid address \"nowhere\"");
    check(
        &["--addr", "nowhere", "du"],
        "embedded: stands for the engine in this process",
    );
    check(
        &["--addr", "unix:///a.sock", "--root", "r", "du"],
        "--root belongs to the engine in this process",
    );
    check(
        &["--addr", "unix:///a.sock", "--tlscert", "c", "du"],
        "--tlscert and --tlskey belong together",
    );
    check(
        &["--addr", "unix:///a.sock", "--tlscacert", "c", "du"],
        "is not secured by TLS",
    );
    check(
        &["--addr", "tcp://localhost:1", "--tlsdir", ".", "du"],
        "directory did not contain one of the needed files: ca.pem or ca.crt",
    );
    check(
        &[
            "--addr",
            "tcp://localhost:1",
            "--tlsdir",
            ".",
            "--tlscacert",
            "c",
            "du",
        ],
        "cannot specify tlsdir and tlscacert/tlscert/tlskey at the same time",
    );
    check(
        &["--addr", "tcp://localhost:1", "dial-stdio"],
        "invalid address tcp://localhost:1 (expected unix://)",
    );
    check(
        &["--addr", "embedded:", "debug", "monitor"],
        "the history of builds is kept by daemons",
    );
}

#[test]
fn the_engine_in_this_process_describes_itself() {
    let world = World::new();
    let run = |arguments: &[&str]| {
        let ran = world.run(arguments);
        assert!(ran.success, "{}", ran.stderr);
        ran.stdout
    };
    assert!(run(&["debug", "info"]).starts_with("BuildKit: kiln "));
    assert!(run(&["debug", "workers"]).starts_with("ID\t\tPLATFORMS\nembedded\tlinux/"));
    assert_has(&run(&["debug", "workers", "-v"]), "Labels:");
    let workers = run(&["debug", "workers", "--format", "json"]);
    let workers: Value = serde_json::from_str(&workers).unwrap();
    assert_eq!(workers[0]["platforms"][0]["os"], "linux");
    assert_eq!(
        run(&["debug", "workers", "--format", "{{range .}}{{.ID}}{{end}}"]),
        "embedded\n"
    );
}

#[test]
fn usage_is_told_in_any_form() {
    let world = World::new();
    world.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    world.must_build(&[]);
    let run = |arguments: &[&str]| {
        let ran = world.run(arguments);
        assert!(ran.success, "{}", ran.stderr);
        ran.stdout
    };
    let records: Value = serde_json::from_str(&run(&["du", "--format", "json"])).unwrap();
    let records = records.as_array().unwrap();
    assert!(!records.is_empty());
    for record in records {
        assert!(
            record["createdAt"].as_str().unwrap().ends_with('Z'),
            "{record}"
        );
        assert!(record["inUse"].is_boolean(), "{record}");
    }
    let ids = run(&["du", "--format", "{{range .}}{{println .ID}}{{end}}"]);
    assert_eq!(
        ids.lines().filter(|line| !line.is_empty()).count(),
        records.len()
    );
    let removed = run(&["prune", "--all", "--format", "{{json .ID}}"]);
    assert_eq!(removed.lines().count(), records.len());
    assert_eq!(run(&["du", "--format", "json"]), "null\n");
}

#[test]
fn metadata_can_be_dumped() {
    let world = World::new();
    world.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    world.must_build(&[]);
    let dump = world.run(&["debug", "dump-metadata"]);
    assert!(dump.success, "{}", dump.stderr);
    assert_has(&dump.stdout, "table \"refs\":\n");
    assert_has(&dump.stdout, "  row=");
    let mut command = world.bare_command();
    command.args(["--root", "elsewhere", "debug", "dump-metadata"]);
    let nothing = ran(command.output().unwrap());
    assert!(!nothing.success);
    assert_has(&nothing.stderr, "elsewhere/kiln.db");
}

#[test]
fn cache_use_is_measured() {
    let world = World::with_busybox();
    world.on_busybox("RUN echo one\n");
    let measure = || {
        world.must_build(&["--debug-json-cache-metrics", "metrics"]);
        let text = world.read("metrics");
        serde_json::from_str::<Value>(text.lines().last().unwrap()).unwrap()
    };
    assert!(measure()["miss"].as_u64().unwrap() > 0);
    assert_eq!(measure()["miss"], 0);
}
