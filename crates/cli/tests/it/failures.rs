//! Builds that must fail, and what they say.

use crate::world::{World, assert_has};

/// Builds a Dockerfile on busybox and checks the parts of its error.
fn check(dockerfile: &str, arguments: &[&str], expected: &[&str]) {
    let world = World::with_busybox();
    world.on_busybox(dockerfile);
    let error = world.must_fail(arguments);
    for part in expected {
        assert_has(&error, part);
    }
}

#[test]
fn a_failed_step_shows_its_line_and_its_output() {
    check(
        "RUN echo before\nRUN echo oops && exit 3\n",
        &[],
        &[
            "Dockerfile:4\n--------------------",
            "   4 | >>> RUN echo oops && exit 3",
            "error: failed to solve: process \"/bin/sh -c echo oops && exit 3\" did not complete successfully: exit code: 3",
            " > [3/3] RUN echo oops && exit 3:\n",
        ],
    );
}

#[test]
fn missing_files_are_named() {
    check(
        "COPY nothing /x\n",
        &[],
        &["Dockerfile:3", "\"/nothing\": not found"],
    );
    check("COPY --from=busybox2 /a /b\n", &[], &["busybox2"]);
}

#[test]
fn syntax_errors_are_marked_and_explained() {
    check(
        "RUNN true\n",
        &[],
        &[
            "Dockerfile:3",
            "unknown instruction: RUNN (did you mean RUN?)",
        ],
    );
    check(
        "COPY --chwon=1 a b\n",
        &[],
        &["unknown flag: --chwon (did you mean chown?)"],
    );
    check(
        "RUN --mount=type=cach,target=/c true\n",
        &[],
        &["cach", "cache"],
    );
}

#[test]
fn an_empty_base_has_no_users() {
    check(
        "FROM scratch\nCOPY --chown=builder rootfs/etc/passwd /\n",
        &[],
        &["invalid user index: -1", "\"builder\" has no number"],
    );
}

#[test]
fn targets_must_exist() {
    check(
        "RUN true\n",
        &["--opt", "target=busybo"],
        &["target stage \"busybo\" could not be found", "busybox"],
    );
}

#[test]
fn contexts_must_exist() {
    let world = World::new();
    let ran = world.run(&[
        "build",
        "--frontend",
        "dockerfile.v0",
        "--local",
        "context=nowhere",
    ]);
    assert!(!ran.success);
    assert_has(&ran.stderr, "nowhere");
    let error = world.must_fail(&[]);
    assert_has(&error, "Dockerfile");
}

#[test]
fn nothing_outside_of_the_context_is_read() {
    let world = World::with_busybox();
    world.write("outside.txt", "hidden");
    std::os::unix::fs::symlink("../outside.txt", world.path("context/link")).unwrap();
    std::os::unix::fs::symlink(world.path("outside.txt"), world.path("context/absolute")).unwrap();
    for source in ["../outside.txt", "link", "absolute"] {
        world.on_busybox(&format!("COPY {source} /x\n"));
        let ran = world.build(&["--output", "type=local,dest=files"]);
        let leaked = ran.success && world.exists("files/x") && {
            let path = world.path("files/x");
            !path.is_symlink() && std::fs::read_to_string(path).is_ok_and(|text| text == "hidden")
        };
        assert!(!leaked, "COPY {source} read a file outside of the context");
    }
}

#[test]
fn a_failed_branch_stops_the_others() {
    let world = World::with_busybox();
    world.on_busybox(
        "FROM busybox AS slow\nRUN sleep 600\nFROM busybox AS bad\nRUN exit 1\n\
         FROM scratch\nCOPY --from=slow /etc/passwd /a\nCOPY --from=bad /etc/passwd /b\n",
    );
    let error = world.must_fail(&[]);
    assert_has(&error, "exit code: 1");
}
