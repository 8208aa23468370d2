//! SBOMs: a scanner image lists what is in a result, beside files and in images.

use std::io::Write as _;
use std::process::Stdio;

use kiln_testkit::registry::Registry;
use serde_json::Value;

use crate::world::{World, assert_has, outcome, ran, tool};

/// Leaves a statement that lists all files that it was given, and its parameter.
const SCANNER: &str = r#"FROM scratch AS busybox
COPY rootfs /
FROM busybox
ENV GREETING=hello
COPY <<'END' /scan
#!/bin/sh
set -e
touch /tmp/scratch
files=$(cd "$BUILDKIT_SCAN_SOURCE" && find . -type f | sort | tr '\n' ' ')
extras=$(cd "${BUILDKIT_SCAN_SOURCE_EXTRAS:-/tmp}" && find . -mindepth 1 -maxdepth 1 | sort | tr '\n' ' ')
cat > "$BUILDKIT_SCAN_DESTINATION/sbom.spdx.json" <<JSON
{"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://spdx.dev/Document",
 "predicate": {"name": "sbom", "files": "$files", "extras": "$extras", "said": "$GREETING $BUILDKIT_SCAN_DEPTH"}}
JSON
END
RUN chmod +x /scan
ENTRYPOINT ["/bin/sh", "/scan"]
"#;

const BUILD: &str = "FROM scratch AS busybox
ARG BUILDKIT_SBOM_SCAN_STAGE
COPY rootfs /
FROM busybox AS made
RUN echo text > /made
FROM scratch
ARG BUILDKIT_SBOM_SCAN_CONTEXT=true
COPY --from=made /made /dir/made
";

/// A registry with the scanner.
struct Published {
    world: World,
    registry: Registry,
}

impl Published {
    fn new() -> Self {
        let (world, registry) = (World::with_busybox(), Registry::start().unwrap());
        world.dockerfile(SCANNER);
        let published = Self { world, registry };
        let output = format!("type=image,push=true,name={}", published.scanner());
        published.world.must_build(&["--output", &output]);
        published.world.dockerfile(BUILD);
        published
    }

    fn scanner(&self) -> String {
        format!("{}/scanner:1", self.registry.host())
    }

    fn request(&self, more: &str) -> String {
        format!("attest:sbom=generator={}{more}", self.scanner())
    }

    /// The predicate that a build left beside its files.
    fn predicate(&self) -> Value {
        let statement = self.world.read("files/sbom.spdx.json");
        let statement: Value = serde_json::from_str(&statement).unwrap();
        assert_eq!(statement["predicateType"], "https://spdx.dev/Document");
        assert_eq!(statement["subject"][0]["name"], "dir/made");
        statement["predicate"].clone()
    }
}

#[test]
fn a_scan_is_told_what_to_look_at() {
    let published = Published::new();
    let output = ["--output", "type=local,dest=files"];
    let build = |opts: &[&str]| {
        let opts = opts.iter().flat_map(|opt| ["--opt", opt]);
        published
            .world
            .must_build(&output.into_iter().chain(opts).collect::<Vec<_>>())
    };
    let request = published.request(",DEPTH=3");
    build(&[&request]);
    let predicate = published.predicate();
    assert_eq!(predicate["files"], "./dir/made ");
    assert_eq!(predicate["extras"], "./sbom-context ");
    assert_eq!(predicate["said"], "hello 3");
    let progress = build(&[&request]);
    assert_eq!(outcome(&progress, "generating sbom"), "CACHED");
    let stages = "build-arg:BUILDKIT_SBOM_SCAN_STAGE=made,other";
    build(&[&request, stages]);
    // The argument of `busybox` holds in the stage that is built on it, too.
    let extras = published.predicate()["extras"].clone();
    assert_eq!(extras, "./sbom-context ./sbom-made ");
}

#[test]
fn an_image_carries_its_sbom() {
    let published = Published::new();
    let image = format!("{}/made:1", published.registry.host());
    let output = format!("type=image,push=true,name={image}");
    let request = published.request("");
    published
        .world
        .must_build(&["--output", &output, "--opt", &request]);
    let raw = |name: &str| -> Value {
        let name = format!("docker://{}/{name}", published.registry.host());
        let text = tool("skopeo", &["inspect", "--raw", "--tls-verify=false", &name]);
        serde_json::from_str(&text).unwrap()
    };
    let index = raw("made:1");
    let attestation = &index["manifests"][1];
    let about = &attestation["annotations"]["vnd.docker.reference.digest"];
    assert_eq!(*about, index["manifests"][0]["digest"]);
    let digest = attestation["digest"].as_str().unwrap();
    let layer = &raw(&format!("made@{digest}"))["layers"][0];
    assert_eq!(layer["mediaType"], "application/vnd.in-toto+json");
    let kind = &layer["annotations"]["in-toto.io/predicate-type"];
    assert_eq!(kind, "https://spdx.dev/Document");
}

#[test]
fn what_is_built_without_a_frontend_is_scanned_too() {
    let published = Published::new();
    let mut command = published
        .world
        .command(&["build", "--output", "type=local,dest=files"]);
    command.args(["--opt", &published.request("")]);
    let mut child = command
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let definition = crate::command_line::kiln_llb_definition();
    child.stdin.take().unwrap().write_all(&definition).unwrap();
    let ran = ran(child.wait_with_output().unwrap());
    assert!(ran.success, "{}", ran.stderr);
    assert_has(&published.world.read("files/sbom.spdx.json"), "\"sbom\"");
}

#[test]
fn a_scanner_that_is_none_is_an_error_with_its_name() {
    let published = Published::new();
    let fail = |request: &str| published.world.must_fail(&["--opt", request]);
    let error = fail("attest:sbom=generator=NOT/A/NAME");
    assert_has(&error, "failed to parse sbom scanner NOT/A/NAME");
    let missing = format!("{}/missing:1", published.registry.host());
    let error = fail(&format!("attest:sbom=generator={missing}"));
    assert_has(&error, &missing);
    let idle = format!("{}/idle:1", published.registry.host());
    let output = format!("type=image,push=true,name={idle}");
    published.world.must_build(&["--output", &output]);
    let error = fail(&format!("attest:sbom=generator={idle}"));
    assert_has(&error, &format!("scanner {idle}"));
    assert_has(&error, " does not have cmd");
}
