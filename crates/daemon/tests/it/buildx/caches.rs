//! Caches in folders, registries and images; what the daemon keeps.

use super::{Buildx, assert_has};

/// A step that would print another word if it ran again.
const STEP: &str =
    "RUN cat /proc/sys/kernel/random/uuid > /made\nFROM scratch\nCOPY --from=base /made /\n";

/// Builds with a cache written, forgets everything, and builds with the cache
/// read: the step's random word must be the same.
#[track_caller]
fn check(buildx: &Buildx, to: &str, from: &str) {
    buildx.on_base("context", STEP);
    let name = buildx.image("cached:1");
    buildx.must(&[
        "build",
        "--provenance=false",
        "--tag",
        &name,
        "--push",
        "--cache-to",
        to,
        "context",
    ]);
    buildx.must(&["build", "--output", "first", "context"]);
    buildx.must(&["prune", "--all", "--force"]);
    let ran = buildx.must(&[
        "build",
        "--progress=plain",
        "--output",
        "second",
        "--cache-from",
        from,
        "context",
    ]);
    assert_eq!(
        buildx.read("first/made"),
        buildx.read("second/made"),
        "{}",
        ran.stderr
    );
    assert_has(&ran.stderr, "CACHED");
}

#[test]
fn in_a_folder() {
    let buildx = Buildx::start();
    check(
        &buildx,
        "type=local,dest=cache,mode=max",
        "type=local,src=cache",
    );
}

#[test]
fn in_a_registry() {
    let buildx = Buildx::start();
    let name = buildx.image("cache:1");
    check(
        &buildx,
        &format!("type=registry,ref={name},mode=max"),
        &format!("type=registry,ref={name}"),
    );
}

#[test]
fn in_the_image() {
    let buildx = Buildx::start();
    let name = buildx.image("cached:1");
    buildx.on_base("context", "RUN cat /proc/sys/kernel/random/uuid > /made\n");
    let build = [
        "build",
        "--provenance=false",
        "--tag",
        &name,
        "--push",
        "--cache-to",
        "type=inline",
        "context",
    ];
    buildx.must(&build);
    buildx.must(&["prune", "--all", "--force"]);
    let from = format!("type=registry,ref={name}");
    let ran = buildx.must(&[
        "build",
        "--progress=plain",
        "--cache-from",
        &from,
        "context",
    ]);
    assert_has(&ran.stderr, "CACHED");
}

#[test]
fn use_is_shown_and_given_back() {
    let buildx = Buildx::start();
    buildx.on_base("context", STEP);
    buildx.must(&["build", "context"]);
    let used = buildx.must(&["du", "--verbose"]).stdout;
    assert_has(
        &used,
        "mount / from exec /bin/sh -c cat /proc/sys/kernel/random/uuid",
    );
    assert_has(&used, "Total:");
    buildx.must(&["prune", "--all", "--force"]);
    let used = buildx.must(&["du"]).stdout;
    assert_has(&used, "Total:\t\t0B");
}
