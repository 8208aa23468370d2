//! The Dockerfile frontend as an image of its own: builds come out as with the built-in one.

use std::path::Path;

use kiln_testkit::registry::Registry;
use serde_json::Value;

use crate::world::{Ran, World, assert_has, outcome, ran, text, tool};

const DOCKERFILE: &str = "\
ARG WHERE=out
FROM scratch AS busybox
COPY rootfs /
FROM busybox AS made
ARG WHERE
ARG WHAT=nothing
RUN <<END
mkdir /$WHERE
echo \"$WHAT\" > /$WHERE/made
END
COPY <<end.txt <<other.txt /texts/
to the end with $WHAT
end.txt
other
other.txt
FROM scratch
ARG WHERE
LABEL who=me
ENV WHERE=$WHERE
COPY --from=made /$WHERE /texts /
CMD [\"/made\"]
";

/// A registry with an image of the frontend, built and pushed by ourselves.
struct Published {
    registry: Registry,
}

impl Published {
    fn new() -> Self {
        let registry = Registry::start().unwrap();
        let world = World::new();
        // `cargo xtask test` builds it beside buildctl.
        let program =
            Path::new(env!("CARGO_BIN_EXE_buildctl")).with_file_name("dockerfile-frontend");
        let copied = std::fs::copy(&program, world.path("context/dockerfile-frontend"));
        copied.unwrap_or_else(|error| {
            panic!(
                "{}: {error}; run cargo build --package kiln-frontend",
                program.display()
            )
        });
        world.dockerfile(include_str!("../../../frontend/Dockerfile"));
        let published = Self { registry };
        let output = format!("type=image,name={},push=true", published.image());
        world.must_build(&["--output", &output]);
        published
    }

    fn image(&self) -> String {
        format!("{}/dockerfile-frontend:1", self.registry.host())
    }

    /// `buildctl build` with this frontend.
    fn build(&self, world: &World, arguments: &[&str]) -> Ran {
        let mut command = world.command(&["build", "--progress=plain", "--frontend", "gateway.v0"]);
        command
            .args(["--opt", &format!("source={}", self.image())])
            .args([
                "--local",
                "context=context",
                "--local",
                "dockerfile=context",
            ])
            .args(arguments);
        ran(command.output().unwrap())
    }
}

/// What a build came to.
#[derive(Debug, PartialEq)]
struct Made {
    digest: Value,
    config: Value,
    listing: String,
    made: String,
}

impl Made {
    fn of(world: &World) -> Self {
        let metadata: Value = serde_json::from_str(&world.read("metadata.json")).unwrap();
        let archive = text(&world.path("image.tar")).to_owned();
        let config = tool(
            "skopeo",
            &["inspect", "--config", &format!("oci-archive:{archive}")],
        );
        Self {
            digest: metadata["containerimage.digest"].clone(),
            config: serde_json::from_str(&config).unwrap(),
            listing: tool("tar", &["tf", &archive]),
            made: world.read("files/made") + &world.read("files/end.txt"),
        }
    }
}

/// Outputs that do not depend on when they are made.
const OUTPUTS: [&str; 10] = [
    "--opt",
    "build-arg:WHAT=a thing",
    "--opt",
    "build-arg:SOURCE_DATE_EPOCH=1700000000",
    "--output",
    "type=oci,dest=image.tar,rewrite-timestamp=true",
    "--output",
    "type=local,dest=files",
    "--metadata-file",
    "metadata.json",
];

#[test]
fn digests_are_those_of_the_built_in_frontend() {
    let published = Published::new();
    let built_in = World::with_busybox();
    built_in.dockerfile(DOCKERFILE);
    built_in.must_build(&OUTPUTS);
    let expected = Made::of(&built_in);
    assert_has(&expected.made, "a thing");
    assert_has(&expected.made, "to the end");

    let world = World::with_busybox();
    world.dockerfile(DOCKERFILE);
    let ran = published.build(&world, &OUTPUTS);
    assert!(ran.success, "{}", ran.stderr);
    assert_eq!(Made::of(&world), expected);
    // The steps are the same too: the built-in frontend's are not run again.
    let progress = world.must_build(&OUTPUTS);
    assert_eq!(outcome(&progress, "RUN <<END"), "CACHED");

    // The same frontend, asked for by the file.
    let world = World::with_busybox();
    world.dockerfile(&format!("# syntax={}\n{DOCKERFILE}", published.image()));
    let progress = world.must_build(&OUTPUTS);
    assert_has(&progress, &format!("docker-image://{}", published.image()));
    assert_eq!(Made::of(&world), expected);
}

#[test]
fn several_platforms_are_an_index() {
    let published = Published::new();
    let arguments = [
        "--opt",
        "platform=linux/amd64,linux/arm64",
        "--opt",
        "build-arg:SOURCE_DATE_EPOCH=1700000000",
        "--output",
        "type=oci,dest=image.tar,rewrite-timestamp=true",
        "--metadata-file",
        "metadata.json",
    ];
    let digest = |build: &dyn Fn(&World) -> Ran| {
        let world = World::new();
        world.dockerfile("FROM scratch\nARG TARGETARCH\nCOPY <<a /a\n$TARGETARCH\na\n");
        let ran = build(&world);
        assert!(ran.success, "{}", ran.stderr);
        let metadata: Value = serde_json::from_str(&world.read("metadata.json")).unwrap();
        metadata["containerimage.digest"].clone()
    };
    let expected = digest(&|world| world.build(&arguments));
    assert!(expected.is_string(), "{expected}");
    assert_eq!(
        digest(&|world| published.build(world, &arguments)),
        expected
    );
}

#[test]
fn errors_and_warnings_show_their_lines() {
    let published = Published::new();
    let world = World::with_busybox();
    for (dockerfile, arguments, expected) in [
        (
            "FROM scratch\nRUNN true\n",
            &[][..],
            &[
                "Dockerfile:2",
                "   2 | >>> RUNN true",
                "unknown instruction: RUNN (did you mean RUN?)",
            ][..],
        ),
        (
            "FROM scratch\nCOPY nothing /x\n",
            &[],
            &["Dockerfile:2", "\"/nothing\": not found"],
        ),
        (
            "FROM scratch AS one\n",
            &["--opt", "target=on"],
            &["target stage \"on\" could not be found"],
        ),
        (
            "FROM scratch\n",
            &["--opt", "filename=other"],
            &["failed to read dockerfile: open other: no such file or directory"],
        ),
        (
            "FROM scratch\n",
            &["--opt", "requestid=frontend.nothing"],
            &["unsupported request frontend.nothing"],
        ),
    ] {
        world.dockerfile(dockerfile);
        let ran = published.build(&world, arguments);
        assert!(!ran.success, "{dockerfile} was built");
        for part in expected {
            assert_has(&ran.stderr, part);
        }
    }
    world.dockerfile("from scratch\nCOPY rootfs /\n");
    let ran = published.build(&world, &[]);
    assert!(ran.success, "{}", ran.stderr);
    assert_has(&ran.stderr, "ConsistentInstructionCasing");
}

#[test]
fn requests_are_answered_alike() {
    let published = Published::new();
    let world = World::new();
    // Something for lint to say.
    world.dockerfile(&DOCKERFILE.replace("CMD", "cmd"));
    for request in ["outline", "targets", "lint", "subrequests.describe"] {
        let request = format!("requestid=frontend.{request}");
        let built_in = world.build(&["--opt", &request]);
        let image = published.build(&world, &["--opt", &request]);
        assert_eq!(
            image.success, built_in.success,
            "{request}: {}",
            image.stderr
        );
        assert!(
            !built_in.stdout.is_empty(),
            "{request}: {}",
            built_in.stderr
        );
        assert_eq!(image.stdout, built_in.stdout, "{request}");
    }
}
