//! What is built again, and what is not.

use crate::world::{World, assert_has, outcome};

fn world() -> World {
    let world = World::with_busybox();
    world.on_busybox(
        "COPY src /src\nRUN cat /src/a.txt > /result\nFROM busybox AS other\nRUN echo other > /other\n\
         FROM scratch\nCOPY --from=busybox /result /\nCOPY --from=other /other /\n",
    );
    world.write("context/src/a.txt", "one\n");
    world
}

#[test]
fn a_second_build_is_cached() {
    let world = world();
    world.must_build(&["--output", "type=local,dest=out"]);
    let progress = world.must_build(&["--output", "type=local,dest=out"]);
    assert_eq!(outcome(&progress, "RUN cat"), "CACHED");
    assert_eq!(outcome(&progress, "RUN echo other"), "CACHED");
}

#[test]
fn times_of_files_do_not_count() {
    let world = world();
    world.must_build(&["--output", "type=local,dest=out"]);
    let file = std::fs::File::options()
        .write(true)
        .open(world.path("context/src/a.txt"))
        .unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let progress = world.must_build(&["--output", "type=local,dest=out"]);
    assert_eq!(outcome(&progress, "RUN cat"), "CACHED");
}

#[test]
fn only_what_depends_on_a_change_runs() {
    let world = world();
    world.must_build(&["--output", "type=local,dest=out"]);
    world.write("context/src/a.txt", "two\n");
    let progress = world.must_build(&["--output", "type=local,dest=out"]);
    assert_eq!(outcome(&progress, "RUN cat"), "DONE");
    assert_eq!(world.read("out/result"), "two\n");
    world.write("context/src/a.txt", "one\n");
    let progress = world.must_build(&["--output", "type=local,dest=out"]);
    assert_eq!(outcome(&progress, "RUN cat"), "CACHED");
    assert_eq!(world.read("out/result"), "one\n");
}

#[test]
fn no_cache_builds_again() {
    let world = world();
    world.must_build(&[]);
    let progress = world.must_build(&["--no-cache"]);
    assert_eq!(outcome(&progress, "RUN cat"), "DONE");
    let progress = world.must_build(&["--opt", "no-cache=other"]);
    assert_eq!(outcome(&progress, "RUN cat"), "CACHED");
    assert_eq!(outcome(&progress, "RUN echo other"), "DONE");
}

#[test]
fn exported_caches_serve_an_empty_store() {
    let world = world();
    world.must_build(&["--export-cache", "type=local,dest=exported,mode=max"]);
    std::fs::rename(world.path("root"), world.path("old-root")).unwrap();
    let progress = world.must_build(&[
        "--import-cache",
        "type=local,src=exported",
        "--output",
        "type=local,dest=out",
    ]);
    assert_eq!(outcome(&progress, "RUN cat"), "CACHED");
    assert_eq!(outcome(&progress, "RUN echo other"), "CACHED");
    assert_eq!(world.read("out/result"), "one\n");
}

#[test]
fn a_broken_import_is_a_miss() {
    let world = world();
    world.write("exported/index.json", "{");
    let progress = world.must_build(&["--import-cache", "type=local,src=exported"]);
    assert_eq!(outcome(&progress, "RUN cat"), "DONE");
    let progress = world.must_build(&["--import-cache", "type=local,src=missing"]);
    assert_has(&progress, "missing");
    // Builds of strangers have none of the variables that lead to a CI system's cache.
    let progress = world.must_build(&["--import-cache", "type=s3"]);
    assert_has(&progress, "s3 cache importer requires");
}

#[test]
fn usage_adds_up_and_can_be_pruned() {
    let world = world();
    world.must_build(&[]);
    let usage = world.run(&["du"]);
    assert!(usage.success, "{}", usage.stderr);
    assert_has(&usage.stdout, "RECLAIMABLE");
    assert_has(&usage.stdout, "Total:");
    let pruned = world.run(&["prune", "--all"]);
    assert!(pruned.success, "{}", pruned.stderr);
    let usage = world.run(&["du"]);
    let total = usage.stdout.lines().last().unwrap().to_owned();
    assert!(
        total.ends_with("\t0B"),
        "left after prune: {total}\n{}",
        usage.stdout
    );
    let progress = world.must_build(&[]);
    assert_eq!(outcome(&progress, "RUN cat"), "DONE");
}
