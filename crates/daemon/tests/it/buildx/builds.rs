//! Builds with every output, and what a build may be given.

use std::os::unix::net::UnixListener;

use serde_json::Value;

use super::{Buildx, assert_has, tool};

/// A build of one layer with known content.
const MADE: &str =
    "RUN echo made > /made\nFROM scratch\nCOPY --from=base /made /made\nCMD [\"/made\"]\n";

#[test]
fn files_archives_and_images() {
    let buildx = Buildx::start();
    buildx.on_base("context", MADE);
    let build = |output: &str| {
        buildx.must(&[
            "build",
            "--provenance=false",
            "--metadata-file",
            "metadata.json",
            "--output",
            output,
            "context",
        ]);
    };

    build("type=local,dest=files");
    assert_eq!(buildx.read("files/made"), "made\n");

    build("type=tar,dest=files.tar");
    let archive = buildx.path("files.tar");
    assert_eq!(
        tool("tar", &["xOf", archive.to_str().unwrap(), "made"]),
        "made\n"
    );

    build("type=oci,dest=oci.tar");
    let of_oci = buildx.digest_in("metadata.json");
    let inspected = inspect(
        &format!("oci-archive:{}", buildx.path("oci.tar").display()),
        &[],
    );
    assert_eq!(inspected["Digest"], of_oci);

    build("type=docker,dest=docker.tar,name=kiln:v1");
    let archive = buildx.path("docker.tar");
    let manifest = tool("tar", &["xOf", archive.to_str().unwrap(), "manifest.json"]);
    assert_has(&manifest, "\"RepoTags\":[\"kiln:v1\"]");

    build("type=oci,tar=false,dest=layout");
    assert_eq!(buildx.digest_in("metadata.json"), of_oci);
    assert_has(&buildx.read("layout/index.json"), &of_oci);

    let name = buildx.image("made:1");
    build(&format!(
        "type=image,name={name},push=true,oci-mediatypes=true"
    ));
    assert_eq!(buildx.digest_in("metadata.json"), of_oci);
    let inspected = inspect(&format!("docker://{name}"), &["--tls-verify=false"]);
    assert_eq!(inspected["Digest"], of_oci);
    assert_has(
        &buildx.must(&["imagetools", "inspect", &name]).stdout,
        &of_oci,
    );
}

fn inspect(image: &str, options: &[&str]) -> Value {
    let arguments = [&["inspect"], options, &[image]].concat();
    serde_json::from_str(&tool("skopeo", &arguments)).unwrap()
}

#[test]
fn secrets_agents_and_arguments() {
    let buildx = Buildx::start();
    buildx.on_base(
        "context",
        "ARG WORD=none\n\
         RUN --mount=type=secret,id=key test \"$(cat /run/secrets/key)\" = open\n\
         RUN --mount=type=secret,id=word,env=IT test \"$IT\" = sesame\n\
         RUN --mount=type=ssh test -S \"$SSH_AUTH_SOCK\"\n\
         RUN echo $WORD > /word\n\
         FROM scratch\nCOPY --from=base /word /\n",
    );
    buildx.write("key", "open");
    let agent = buildx.path("agent.sock");
    let _listener = UnixListener::bind(&agent).unwrap();
    let ssh = format!("default={}", agent.display());
    let mut command = buildx.command(&[
        "build",
        "--secret",
        "id=key,src=key",
        "--secret",
        "id=word,env=MAGIC",
        "--ssh",
        &ssh,
        "--build-arg",
        "WORD=said",
        "--output",
        "files",
        "context",
    ]);
    let ran = super::ran(command.env("MAGIC", "sesame").output().unwrap());
    assert!(ran.success, "{}", ran.stderr);
    assert_eq!(buildx.read("files/word"), "said\n");
}

#[test]
fn progress_can_be_read_by_programs() {
    let buildx = Buildx::start();
    buildx.on_base("context", "RUN echo words of a step\n");
    let ran = buildx.must(&[
        "build",
        "--progress=rawjson",
        "--output=type=cacheonly",
        "context",
    ]);
    let mut logged = Vec::new();
    let mut names = Vec::new();
    for line in ran.stderr.lines() {
        let update: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for vertex in update["vertexes"].as_array().into_iter().flatten() {
            names.push(vertex["name"].as_str().unwrap_or_default().to_owned());
        }
        for log in update["logs"].as_array().into_iter().flatten() {
            logged.push(log["data"].as_str().unwrap_or_default().to_owned());
        }
    }
    assert!(
        names
            .iter()
            .any(|name| name.contains("RUN echo words of a step")),
        "{names:?}"
    );
    // "words of a step\n" in base64.
    assert!(
        logged.contains(&"d29yZHMgb2YgYSBzdGVwCg==".to_owned()),
        "{logged:?}"
    );
}

#[test]
fn a_failing_step_shows_its_place() {
    let buildx = Buildx::start();
    buildx.on_base(
        "context",
        "RUN echo before\nRUN echo why it fails && exit 7\n",
    );
    let ran = buildx.run(&["build", "--progress=plain", "context"]);
    assert!(!ran.success);
    for part in [
        "why it fails",
        "Dockerfile:3",
        ">>> RUN echo why it fails && exit 7",
        "exit code: 7",
    ] {
        assert_has(&ran.stderr, part);
    }
}

#[test]
fn provenance_goes_with_the_image() {
    let buildx = Buildx::start();
    buildx.on_base("context", MADE);
    let name = buildx.image("proven:1");
    buildx.must(&[
        "build",
        "--provenance=mode=max",
        "--push",
        "--tag",
        &name,
        "context",
    ]);
    let format = "{{json .Provenance}}";
    let shown = buildx
        .must(&["imagetools", "inspect", "--format", format, &name])
        .stdout;
    let provenance: Value = serde_json::from_str(&shown).unwrap();
    let text = provenance["SLSA"].to_string();
    assert_has(&text, "buildDefinition");
    assert_has(&text, "base");
}

#[test]
fn several_targets_are_baked_at_once() {
    let buildx = Buildx::start();
    buildx.on_base(
        "context",
        "RUN echo shared > /shared\n\
         FROM base AS one\nRUN echo one > /one\n\
         FROM base AS two\nRUN echo two > /two\n\
         FROM scratch AS first\nCOPY --from=one /one /shared /\n\
         FROM scratch AS second\nCOPY --from=two /two /shared /\n",
    );
    buildx.write(
        "docker-bake.hcl",
        r#"
group "default" {
  targets = ["first", "second"]
}
target "first" {
  context = "context"
  target = "first"
  output = ["type=local,dest=first"]
}
target "second" {
  context = "context"
  target = "second"
  output = ["type=local,dest=second"]
}
"#,
    );
    buildx.must(&["bake", "--allow=fs=*"]);
    for file in ["first/one", "first/shared", "second/two", "second/shared"] {
        assert!(buildx.path(file).is_file(), "{file}");
    }
}
