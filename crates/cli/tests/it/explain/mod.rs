//! Why steps ran, as `buildctl explain` tells it.

mod cases;

use std::os::unix::fs::symlink;

use kiln_testkit::image::Image;
use kiln_testkit::registry::Registry;
use kiln_testkit::rootfs;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::world::{World, assert_has};

const DOCKERFILE: &str = "\
FROM scratch AS first
COPY rootfs /
FROM first AS second
ARG LEVEL=1
ENV MODE=fast
WORKDIR /work
COPY src /src
COPY docs /docs
RUN echo $LEVEL $MODE > /level
FROM second
COPY --from=first /bin/busybox /again
";

fn world() -> World {
    let world = World::with_busybox();
    world.dockerfile(DOCKERFILE);
    world.write("context/src/main.rs", "one");
    world.write("context/src/deep/down.rs", "one");
    world.write("context/docs/book.md", "one");
    symlink("main.rs", world.path("context/src/link")).unwrap();
    world
}

fn explained(world: &World, arguments: &[&str]) -> String {
    let ran = world.run(&[&["explain"], arguments].concat());
    assert!(ran.success, "{}", ran.stderr);
    ran.stdout
}

/// The reasons below the first step whose name has this part.
#[track_caller]
fn reasons<'a>(text: &'a str, step: &str) -> Vec<&'a str> {
    let mut lines = text
        .lines()
        .skip_while(|line| line.starts_with(' ') || !line.contains(step));
    assert!(lines.next().is_some(), "no step {step:?} in:\n{text}");
    let lines = lines.skip_while(|line| !line.starts_with(' '));
    lines
        .take_while(|line| line.starts_with(' '))
        .map(str::trim)
        .collect()
}

#[test]
fn a_cache_that_cannot_be_imported() {
    let world = world();
    world.must_build(&["--import-cache", "type=local,src=nowhere"]);
    let text = explained(&world, &[]);
    let reasons = reasons(&text, "COPY rootfs");
    assert_eq!(
        reasons[0],
        "ran: nothing like it was built before on this root"
    );
    assert_has(reasons[1], "also: cache ");
    assert_has(reasons[1], "nowhere could not be imported: ");
}

#[test]
fn a_step_that_failed_before() {
    let world = World::with_busybox();
    world.on_busybox("RUN --mount=type=secret,id=key,required=true cat /run/secrets/key\n");
    world.must_fail(&[]);
    assert_has(&explained(&world, &[]), "RUN --mount");
    world.write("key", "open");
    world.must_build(&["--secret", "id=key,src=key"]);
    let text = explained(&world, &[]);
    let reason = "ran: nothing changed, but the earlier build did not complete it";
    assert_eq!(reasons(&text, "RUN --mount"), [reason]);
    assert!(!text.contains("open"), "{text}");
    world.must_build(&["--secret", "id=key,src=key"]);
    let text = explained(&world, &[]);
    assert_has(&text, ": 0 ran, 2 cached\n");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn base_images() {
    let world = World::new();
    let registry = Registry::start().unwrap();
    rootfs::busybox(world.path("base")).unwrap();
    let push = |name: &str, mode: &str| {
        let image = Image::new()
            .layer(world.path("base"))
            .config("Env", json!([format!("MODE={mode}")]));
        let pushed = registry.push_image(&image, name).unwrap();
        pushed.digest.to_string()
    };
    let host = registry.host();
    let build = |name: &str| {
        world.dockerfile(&format!("FROM {host}/{name}\nRUN echo $MODE > /mode\n"));
        world.must_build(&[]);
        explained(&world, &[])
    };
    push("base:v1", "fast");
    build("base:v1");
    let one = push("base:v1", "slow");
    let text = build("base:v1");
    let variable = format!(
        "ran: environment variable MODE of base image {host}/base:v1 changed from \"fast\" to \"slow\""
    );
    assert_eq!(reasons(&text, "RUN echo")[0], variable);
    world.write("base/new", "file");
    let two = push("base:v1", "slow");
    let text = build("base:v1");
    let moved = format!("ran: digest of the base image changed from {one:?} to {two:?}");
    assert_eq!(reasons(&text, "FROM"), [moved.as_str()]);
    let follows = format!("ran: follows from [1/2] FROM {host}/base:v1@{two}");
    assert_eq!(reasons(&text, "RUN echo"), [follows.as_str()]);
    world.write("base/new", "other");
    push("other:v1", "other");
    let text = build("other:v1");
    let other = format!("ran: base image changed from \"{host}/base:v1\" to \"{host}/other:v1\"");
    assert_eq!(reasons(&text, "FROM"), [other.as_str()]);
}

#[test]
fn results_of_other_stages() {
    let world = World::with_busybox();
    let dockerfile = |text: &str| {
        world.on_busybox(&format!(
            "FROM busybox AS make\nRUN mkdir /out && echo same > /out/same && echo {text} > /out/made\n\
             FROM scratch\nCOPY --from=make /out /\n"
        ));
        world.must_build(&[]);
        explained(&world, &[])
    };
    dockerfile("one");
    let text = dockerfile("two");
    let reasons = reasons(&text, "COPY --from");
    assert_has(
        reasons[0],
        "ran: /out/made changed (content), from [make 1/1] RUN mkdir",
    );
    assert_has(reasons[1], "also: follows from [make 1/1] RUN mkdir");
}

#[test]
fn builds_are_found_by_their_refs() {
    let world = world();
    world.must_build(&["--ref-file", "first"]);
    world.write("context/src/main.rs", "two");
    world.must_build(&["--ref-file", "second"]);
    let (first, second) = (world.read("first"), world.read("second"));
    assert_has(
        &explained(&world, &[&first]),
        "nothing like it was built before",
    );
    assert_eq!(explained(&world, &[&second[..20]]), explained(&world, &[]));
    assert_eq!(
        explained(&world, &[&format!("default/default/{second}")]),
        explained(&world, &[])
    );
    let document: Value = serde_json::from_str(&explained(&world, &["--format", "json"])).unwrap();
    assert_eq!(document["build"], second.as_str());
    let cause = &document["explanations"][0]["causes"][0];
    assert_eq!(cause["reason"], "files", "{document:#}");
    assert_eq!(
        cause["changes"]["first"][0],
        json!({"path": "src/main.rs", "what": ["content"]})
    );
    assert_eq!(
        document["explanations"][0]["compared"]["build"],
        first.as_str()
    );
    let ran = world.run(&["explain", "no-such-build"]);
    assert!(!ran.success);
    assert_has(
        &ran.stderr,
        "no build \"no-such-build\" that has ended is in the history",
    );
    let empty = World::new();
    let ran = empty.run(&["explain"]);
    assert!(!ran.success);
    assert_has(&ran.stderr, "the history has no build that has ended");
}

#[test]
fn daemons_tell_the_same() {
    let world = world();
    let daemon = Daemon::start(&world);
    daemon.must_build(&world, &["--ref-file", "first"]);
    world.write("context/src/main.rs", "two");
    daemon.must_build(&world, &["--opt", "build-arg:LEVEL=2"]);
    let text = daemon.must(&world, &["explain"]);
    assert_has(
        reasons(&text, "COPY src")[0],
        "ran: src/main.rs changed (content), from [internal] load build context",
    );
    assert_eq!(
        reasons(&text, "RUN echo")[0],
        "ran: build argument LEVEL changed from \"1\" to \"2\"",
    );
    let first = world.read("first");
    assert_has(&daemon.must(&world, &["explain", &first]), &first);
}
