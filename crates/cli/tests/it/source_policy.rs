//! `--source-policy-file`, with both engines.

use kiln_testkit::registry::Registry;
use kiln_testkit::rootfs;
use kiln_testkit::web::{Page, WebServer};
use rstest::rstest;
use serde_json::json;

use crate::daemon::{Daemon, Engine};
use crate::world::{Ran, World, assert_has, ran};

/// A registry with two bases, a web server, and both engines.
struct User {
    world: World,
    daemon: Daemon,
    registry: Registry,
    server: WebServer,
}

impl User {
    fn new() -> Self {
        let world = World::new();
        let registry = Registry::start().unwrap();
        for tag in ["one", "two"] {
            rootfs::busybox(world.path(tag)).unwrap();
            world.write(&format!("{tag}/tag"), tag);
            let name = format!("base:{tag}");
            registry.push_rootfs(world.path(tag), &name).unwrap();
        }
        let server = WebServer::start().unwrap();
        server.serve("/file", Page::new("text"));
        world.dockerfile(&format!(
            "FROM {}/base:one\nADD {} /file\nRUN cat /tag > /seen\n",
            registry.host(),
            server.url("/file")
        ));
        Self {
            daemon: Daemon::start(&world),
            world,
            registry,
            server,
        }
    }

    fn base(&self, tag: &str) -> String {
        format!("docker-image://{}/base:{tag}", self.registry.host())
    }

    /// Builds with these rules into the folder `files`.
    fn build(&self, engine: Engine, rules: serde_json::Value) -> Ran {
        let policy = json!({ "version": 1, "rules": rules });
        self.world.write("policy.json", policy.to_string());
        let mut arguments = vec!["--source-policy-file", "policy.json"];
        arguments.extend(["--output", "type=local,dest=files"]);
        arguments.extend(["--opt", "attest:provenance=mode=max"]);
        let mut command = match engine {
            Engine::Own => self.world.build_command(&arguments),
            Engine::Daemon => self.daemon.build_command(&self.world, &arguments),
        };
        ran(command.output().unwrap())
    }
}

#[rstest]
fn what_a_rule_denies_is_not_asked_for(#[values(Engine::Own, Engine::Daemon)] engine: Engine) {
    let user = User::new();
    let deny = |identifier: &str| {
        let rules = json!([
            { "action": "ALLOW", "selector": { "identifier": "*" } },
            { "action": "DENY", "selector": { "identifier": identifier } },
        ]);
        let ran = user.build(engine, rules);
        assert!(!ran.success, "{}", ran.stderr);
        ran.stderr
    };
    let denied = |identifier: &str| {
        format!("source {identifier:?} denied by policy: source denied by policy")
    };
    let error = deny("docker-image://*");
    assert_has(&error, &denied(&user.base("one")));
    assert_has(&error, "could not resolve image due to policy");
    assert_has(&error, "Dockerfile:1");
    let error = deny("http://*");
    assert_has(&error, &denied(&user.server.url("/file")));
    assert_has(&error, "error evaluating the source policy");
    assert!(user.server.requests().is_empty());
    assert!(!user.world.exists("files"));
}

#[rstest]
fn what_a_rule_converts_is_built_and_told(#[values(Engine::Own, Engine::Daemon)] engine: Engine) {
    let user = User::new();
    let checksum = "sha256:982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1";
    let image = json!({
        "action": "CONVERT",
        "selector": { "identifier": user.base("one").replace(":one", ":*") },
        "updates": { "identifier": user.base("two") },
    });
    let file = |checksum: &str| {
        json!({
            "action": "CONVERT",
            "selector": { "identifier": user.server.url("/file"), "match_type": "EXACT" },
            "updates": { "attrs": { "http.checksum": checksum } },
        })
    };
    let ran = user.build(engine, json!([image, file(checksum)]));
    assert!(ran.success, "{}", ran.stderr);
    assert_eq!(user.world.read("files/seen"), "two");
    let provenance = user.world.read("files/provenance.json");
    assert_has(&provenance, "base@two");
    let ran = user.build(engine, json!([file(&checksum.replace('9', "8"))]));
    assert_has(&ran.stderr, "digest mismatch");
}

#[test]
fn wrong_rules_are_found_before_anything_runs() {
    let user = User::new();
    let rules =
        json!([{ "action": "DENY", "selector": { "identifier": "(", "match_type": "REGEX" } }]);
    let ran = user.build(Engine::Own, rules);
    assert_has(&ran.stderr, "invalid regex \"(\"");
}
