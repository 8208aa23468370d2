//! Each case is built, changed in one way, built again and explained.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::{explained, reasons, world};
use crate::world::{World, assert_has};

/// A way in which something changes.
struct Case {
    name: &'static str,
    first: &'static [&'static str],
    change: fn(&World),
    second: &'static [&'static str],
    /// Parts of names of steps, with why they ran.
    expected: &'static [(&'static str, &'static str)],
}

const NOTHING: Case = Case {
    name: "",
    first: &[],
    change: |_| {},
    second: &[],
    expected: &[],
};

fn replace(world: &World, from: &str, to: &str) {
    let dockerfile = world.read("context/Dockerfile");
    assert_has(&dockerfile, from);
    world.dockerfile(&dockerfile.replace(from, to));
}

fn check(cases: &[Case]) {
    for case in cases {
        let world = world();
        world.must_build(case.first);
        (case.change)(&world);
        world.must_build(case.second);
        let text = explained(&world, &[]);
        for (step, reason) in case.expected {
            let reasons = reasons(&text, step);
            assert!(
                reasons.contains(reason),
                "{}: {step}: {reason:?} is missing in:\n{text}",
                case.name
            );
        }
    }
}

#[test]
fn files_of_the_context() {
    check(&[
        Case {
            name: "a file edited",
            change: |world| world.write("context/src/main.rs", "two"),
            expected: &[
                (
                    "COPY src /src",
                    "ran: src/main.rs changed (content), from [internal] load build context",
                ),
                ("COPY docs", "ran: follows from [second 2/4] COPY src /src"),
                (
                    "RUN echo",
                    "ran: follows from [second 3/4] COPY docs /docs, which began with [second 2/4] COPY src /src",
                ),
            ],
            ..NOTHING
        },
        Case {
            name: "files added",
            change: |world| {
                world.write("context/src/new.rs", "new");
                for number in 0..4 {
                    world.write(&format!("context/src/more/{number}"), "new");
                }
            },
            expected: &[(
                "COPY src /src",
                "ran: src/more/0 added, src/more/1 added, src/more/2 added and 2 others, \
                 from [internal] load build context",
            )],
            ..NOTHING
        },
        Case {
            name: "a file removed",
            change: |world| std::fs::remove_file(world.path("context/src/deep/down.rs")).unwrap(),
            expected: &[(
                "COPY src /src",
                "ran: src/deep/down.rs removed, from [internal] load build context",
            )],
            ..NOTHING
        },
        Case {
            name: "a mode changed",
            change: |world| {
                let permissions = std::fs::Permissions::from_mode(0o755);
                std::fs::set_permissions(world.path("context/docs/book.md"), permissions).unwrap();
            },
            expected: &[(
                "COPY docs /docs",
                "ran: docs/book.md changed (mode), from [internal] load build context",
            )],
            ..NOTHING
        },
        Case {
            name: "a link's target changed",
            change: |world| {
                std::fs::remove_file(world.path("context/src/link")).unwrap();
                symlink("deep/down.rs", world.path("context/src/link")).unwrap();
            },
            expected: &[(
                "COPY src /src",
                "ran: src/link changed (link target), from [internal] load build context",
            )],
            ..NOTHING
        },
        Case {
            name: "the earlier files are gone",
            change: |world| {
                let pruned = world.run(&["prune", "--filter", "type==source.local"]);
                assert!(pruned.success, "{}", pruned.stderr);
                world.write("context/src/main.rs", "two");
            },
            expected: &[(
                "COPY src /src",
                "ran: files below /src changed, from [internal] load build context; \
                 the earlier ones are not here any more to tell which",
            )],
            ..NOTHING
        },
    ]);
}

#[test]
fn arguments_and_environment() {
    check(&[
        Case {
            name: "a build argument",
            second: &["--opt", "build-arg:LEVEL=2"],
            expected: &[(
                "RUN echo",
                "ran: build argument LEVEL changed from \"1\" to \"2\"",
            )],
            ..NOTHING
        },
        Case {
            name: "an environment variable",
            change: |world| replace(world, "MODE=fast", "MODE=slow"),
            expected: &[(
                "RUN echo",
                "ran: environment variable MODE changed from \"fast\" to \"slow\"",
            )],
            ..NOTHING
        },
        Case {
            name: "the nearest of two earlier builds",
            first: &["--opt", "build-arg:LEVEL=1"],
            change: |world| {
                world.must_build(&["--opt", "build-arg:LEVEL=2"]);
                world.write("context/src/main.rs", "two");
            },
            second: &["--opt", "build-arg:LEVEL=1"],
            expected: &[
                (
                    "COPY src",
                    "ran: src/main.rs changed (content), from [internal] load build context",
                ),
                (
                    "RUN echo",
                    "ran: follows from [second 3/4] COPY docs /docs, which began with [second 2/4] COPY src /src",
                ),
            ],
        },
    ]);
}

#[test]
fn the_dockerfile() {
    check(&[
        Case {
            name: "a command",
            change: |world| replace(world, "RUN echo $LEVEL $MODE >", "RUN echo $MODE >"),
            expected: &[(
                "RUN echo",
                "ran: command changed from \"echo $LEVEL $MODE > /level\" to \"echo $MODE > /level\"",
            )],
            ..NOTHING
        },
        Case {
            name: "the order",
            change: |world| {
                replace(
                    world,
                    "COPY src /src\nCOPY docs /docs",
                    "COPY docs /docs\nCOPY src /src",
                );
            },
            expected: &[(
                "COPY docs",
                "ran: the order changed: it comes after [second 1/4] WORKDIR /work, \
                 it came after [second 2/4] COPY src /src",
            )],
            ..NOTHING
        },
        Case {
            name: "a step removed",
            change: |world| replace(world, "COPY docs /docs\n", ""),
            expected: &[(
                "RUN echo",
                "ran: the order changed: it comes after [second 2/3] COPY src /src, \
                 it came after [second 3/4] COPY docs /docs, which is gone",
            )],
            ..NOTHING
        },
        Case {
            name: "a step added",
            change: |world| replace(world, "COPY docs", "RUN true\nCOPY docs"),
            expected: &[
                ("RUN true", "ran: no earlier build had this step"),
                ("COPY docs", "ran: follows from [second 3/5] RUN true"),
            ],
            ..NOTHING
        },
        Case {
            name: "the working directory",
            change: |world| replace(world, "WORKDIR /work", "WORKDIR /other"),
            expected: &[
                (
                    "WORKDIR",
                    "ran: file action changed from \"make directory /work\" to \"make directory /other\"",
                ),
                (
                    "RUN echo",
                    "ran: working directory changed from \"/work\" to \"/other\"",
                ),
            ],
            ..NOTHING
        },
        Case {
            name: "the user",
            change: |world| replace(world, "RUN echo $LEVEL", "USER 0:0\nRUN echo $LEVEL"),
            expected: &[("RUN echo", "ran: user is new: \"0:0\"")],
            ..NOTHING
        },
        Case {
            name: "the owner of copies",
            change: |world| replace(world, "COPY src", "COPY --chown=7:8 src"),
            expected: &[("COPY --chown=7:8 src", "ran: owner (chown) is new: \"7:8\"")],
            ..NOTHING
        },
        Case {
            name: "the mode of copies",
            change: |world| replace(world, "COPY src", "COPY --chmod=700 src"),
            expected: &[("COPY --chmod=700 src", "ran: mode (chmod) is new: \"0700\"")],
            ..NOTHING
        },
        Case {
            name: "a mount",
            change: |world| {
                let run =
                    |id: &str| format!("RUN --mount=type=secret,id={id},target=/s echo $LEVEL");
                replace(world, "RUN echo $LEVEL", &run("one"));
                world.must_build(&[]);
                replace(world, "id=one", "id=two");
            },
            expected: &[(
                "RUN --mount",
                "ran: mount at /s changed from \"secret,id=one,rights=0:0:0400\" to \
                 \"secret,id=two,rights=0:0:0400\"",
            )],
            ..NOTHING
        },
    ]);
}

#[test]
fn the_cache_itself() {
    const GONE: &str =
        "ran: nothing changed, but its cached result is gone: pruned, or removed to free space";
    check(&[
        Case {
            name: "--no-cache",
            second: &["--no-cache"],
            expected: &[
                ("COPY rootfs", "ran: the cache is off for it (--no-cache)"),
                ("RUN echo", "ran: the cache is off for it (--no-cache)"),
            ],
            ..NOTHING
        },
        Case {
            name: "no cache for a stage",
            second: &["--opt", "no-cache=second"],
            expected: &[("COPY src", "ran: the cache is off for it (no-cache=second)")],
            ..NOTHING
        },
        Case {
            name: "pruned",
            change: |world| assert!(world.run(&["prune", "--all"]).success),
            expected: &[("COPY rootfs", GONE), ("RUN echo", GONE)],
            ..NOTHING
        },
        Case {
            name: "a cache that cannot be imported",
            change: |world| assert!(world.run(&["prune", "--all"]).success),
            second: &["--import-cache", "type=local,src=nowhere"],
            expected: &[("RUN echo", GONE)],
            ..NOTHING
        },
    ]);
}
