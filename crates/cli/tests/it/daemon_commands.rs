//! Commands about our own daemon, beside builds.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::daemon::Daemon;
use crate::world::{World, assert_has, ran, text};

fn built(world: &World, daemon: &Daemon) -> String {
    world.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    daemon.must_build(
        world,
        &["--ref-file", "ref", "--output", "type=oci,dest=oci.tar"],
    );
    world.read("ref")
}

#[test]
fn usage_and_pruning() {
    let world = World::new();
    let daemon = Daemon::start(&world);
    built(&world, &daemon);
    let table = daemon.must(&world, &["du"]);
    assert!(table.starts_with("ID"), "{table}");
    assert_has(&table, "Reclaimable:");
    let count = |filter: &str| {
        let records = daemon.must(&world, &["du", "--format", "json", "--filter", filter]);
        let records: Value = serde_json::from_str(&records).unwrap();
        records.as_array().map_or(0, Vec::len)
    };
    assert!(count("type==source.local") > 0);
    assert_has(&daemon.must(&world, &["du", "--verbose"]), "Type:");
    let pruned = daemon.must(&world, &["prune", "--filter", "type==source.local"]);
    assert_has(&pruned, "Total:");
    assert_eq!(count("type==source.local"), 0);
    daemon.must(&world, &["prune", "--all"]);
    assert_eq!(daemon.must(&world, &["du", "--format", "json"]), "null\n");
}

#[test]
fn workers_and_version() {
    let world = World::new();
    let daemon = Daemon::start(&world);
    assert!(
        daemon
            .must(&world, &["debug", "info"])
            .starts_with("BuildKit:")
    );
    let version = daemon.must(
        &world,
        &["debug", "info", "--format", "{{.BuildkitVersion.Version}}"],
    );
    assert!(version.starts_with('v'), "{version}");
    let workers = daemon.must(&world, &["debug", "workers", "--format", "json"]);
    let workers: Value = serde_json::from_str(&workers).unwrap();
    let id = workers[0]["id"].as_str().unwrap();
    assert_eq!(workers[0]["platforms"][0]["os"], "linux");
    assert_has(&daemon.must(&world, &["debug", "workers"]), id);
    let verbose = daemon.must(&world, &["debug", "workers", "-v"]);
    assert_has(&verbose, "\torg.mobyproject.buildkit.worker.executor:");
    assert_has(&verbose, "GC Policy rule#0:\n\tAll:");
    let filter = format!("id=={id}");
    assert_has(
        &daemon.must(&world, &["debug", "workers", "--filter", &filter]),
        id,
    );
    let none = daemon.must(&world, &["debug", "workers", "--filter", "id==other"]);
    assert_eq!(none.lines().count(), 1);
}

#[test]
fn histories_are_kept_shown_and_forgotten() {
    let world = World::new();
    let daemon = Daemon::start(&world);
    let reference = built(&world, &daemon);
    let table = daemon.must(&world, &["debug", "histories"]);
    assert!(table.starts_with("TYPE"), "{table}");
    assert_has(&table, &reference);
    let event = daemon.must(&world, &["debug", "histories", "--format", "json"]);
    let event: Value = serde_json::from_str(&event).unwrap();
    assert_eq!(event["record"]["Ref"], reference.as_str());
    assert_eq!(event["record"]["Frontend"], "dockerfile.v0");

    let logs = daemon.must(
        &world,
        &["debug", "logs", "--progress", "plain", &reference],
    );
    assert_has(&logs, "COPY Dockerfile /");
    let digest = event["record"]["logs"]["digest"].as_str().unwrap();
    assert!(!daemon.must(&world, &["debug", "get", digest]).is_empty());

    daemon.must(&world, &["debug", "ctl", "--pin", &reference]);
    assert!(
        daemon
            .must(&world, &["debug", "histories"])
            .trim_end()
            .ends_with('*')
    );
    daemon.must(&world, &["prune-histories"]);
    assert_has(&daemon.must(&world, &["debug", "histories"]), &reference);
    daemon.must(&world, &["debug", "ctl", "--unpin", &reference]);
    assert_has(&daemon.must(&world, &["prune-histories"]), &reference);
    assert_eq!(
        daemon.must(&world, &["debug", "histories"]).lines().count(),
        1
    );
}

#[test]
fn wrong_commands_are_explained() {
    let world = World::new();
    let daemon = Daemon::start(&world);
    let check = |arguments: &[&str], expected: &str| {
        let ran = ran(daemon.command(&world, arguments).output().unwrap());
        assert!(!ran.success, "{arguments:?}");
        assert_has(&ran.stderr, expected);
    };
    check(
        &["debug", "ctl", "x"],
        "must specify one of --pin, --unpin, --delete",
    );
    check(
        &["debug", "ctl", "--pin", "--unpin", "x"],
        "cannot specify both --pin and --unpin",
    );
    check(
        &["debug", "ctl", "--delete", "--pin", "x"],
        "cannot specify --delete with --pin or --unpin",
    );
    check(&["debug", "ctl", "--pin"], "build ref must be specified");
    check(&["debug", "logs"], "build ref must be specified");
    check(&["debug", "get"], "blob digest must be specified");
    check(&["debug", "get", "sha256:1"], "is not a digest");
    check(&["du", "--format", "{{.Nothing"], "unclosed action");
}

#[test]
fn containers_are_reached_through_their_tool() {
    let world = World::new();
    let daemon = Daemon::start(&world);
    // Stands for docker: checks what it is asked and runs it here.
    let script = format!(
        "#!/bin/sh\n[ \"$1 $2 $3 $4 $5\" = \"exec -i box buildctl dial-stdio\" ] || exit 9\n\
         exec {} --addr {} dial-stdio\n",
        env!("CARGO_BIN_EXE_buildctl"),
        daemon.address
    );
    world.write("bin/docker", script);
    let permissions = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(world.path("bin/docker"), permissions).unwrap();
    let path = format!(
        "{}:{}",
        text(&world.path("bin")),
        std::env::var("PATH").unwrap()
    );
    let run = |address: &str, arguments: &[&str]| {
        let mut command = world.bare_command();
        command
            .env("PATH", &path)
            .args(["--addr", address])
            .args(arguments);
        ran(command.output().unwrap())
    };
    world.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    let build = [
        "build",
        "--frontend",
        "dockerfile.v0",
        "--local",
        "context=context",
        "--local",
        "dockerfile=context",
        "--output",
        "type=local,dest=files",
    ];
    let built = run("docker-container://box", &build);
    assert!(built.success, "{}", built.stderr);
    assert!(world.exists("files/Dockerfile"));
    let refused = run("docker-container://other", &["du"]);
    assert!(!refused.success);
    assert_has(&refused.stderr, "docker ended (exit status: 9)");
}
