//! Questions about a Dockerfile instead of a build of it.

use super::{Buildx, assert_has};

const DOCKERFILE: &str = "\
# What is built.
FROM scratch AS base
# Who is greeted.
ARG WHO=world
FROM base as last
MAINTAINER nobody
COPY Dockerfile /
";

#[test]
fn checks_outlines_and_targets() {
    let buildx = Buildx::start();
    buildx.write("context/Dockerfile", DOCKERFILE);

    let checked = buildx.run(&["build", "--check", "context"]);
    let text = checked.stdout + &checked.stderr;
    assert!(!checked.success, "warnings must fail a check:\n{text}");
    for part in ["FromAsCasing", "MaintainerDeprecated", "Dockerfile:5"] {
        assert_has(&text, part);
    }

    let outline = buildx.must(&["build", "--call=outline", "context"]).stdout;
    for part in ["WHO", "world"] {
        assert_has(&outline, part);
    }

    let targets = buildx.must(&["build", "--call=targets", "context"]).stdout;
    for part in ["base", "last"] {
        assert_has(&targets, part);
    }

    buildx.write("clean/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let checked = buildx.must(&["build", "--check", "clean"]);
    assert_has(&(checked.stdout + &checked.stderr), "no warnings found");
}
