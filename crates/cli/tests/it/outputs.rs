//! Outputs, judged by other tools.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kiln_testkit::faults::FaultyProxy;
use kiln_testkit::registry::{Protection, Registry};
use serde_json::{Value, json};

use crate::world::{World, assert_has, ran, text, tool};

/// A small image with a label, a command and one RUN step.
fn world() -> World {
    let world = World::with_busybox();
    world.on_busybox(
        "RUN echo made > /made && mkdir -p /srv/a && ln -s ../made /srv/link\n\
         FROM scratch\n\
         COPY --from=busybox /bin/busybox /bin/sh\n\
         COPY --from=busybox /made /srv /out/\n\
         LABEL who=\"a & b\"\nCMD [\"/bin/sh\", \"-c\", \"cat /out/made\"]\n",
    );
    world
}

#[test]
fn all_outputs_in_one_build() {
    let world = world();
    world.must_build(&[
        "--output",
        "type=local,dest=files",
        "--output",
        "type=tar,dest=files.tar",
        "--output",
        "type=oci,dest=oci.tar,name=example.com/kiln:v1",
        "--output",
        "type=docker,dest=docker.tar,name=kiln:v1",
        "--metadata-file",
        "metadata.json",
    ]);
    assert_eq!(world.read("files/out/made"), "made\n");
    let listing = tool("tar", &["tf", text(&world.path("files.tar"))]);
    assert_has(&listing, "out/made");
    let archive = format!("oci-archive:{}", text(&world.path("oci.tar")));
    let inspected: Value = serde_json::from_str(&tool("skopeo", &["inspect", &archive])).unwrap();
    assert_eq!(inspected["Labels"]["who"], "a & b");
    let metadata: Value = serde_json::from_str(&world.read("metadata.json")).unwrap();
    assert_eq!(inspected["Digest"], metadata["containerimage.digest"]);
    let archive = format!("docker-archive:{}", text(&world.path("docker.tar")));
    let inspected: Value = serde_json::from_str(&tool("skopeo", &["inspect", &archive])).unwrap();
    assert_eq!(inspected["Labels"]["who"], "a & b");
    let manifest = tool(
        "tar",
        &["xOf", text(&world.path("docker.tar")), "manifest.json"],
    );
    assert_has(&manifest, "\"RepoTags\":[\"kiln:v1\"]");
}

#[test]
fn layout_directory_runs_with_runc() {
    let world = world();
    world.must_build(&[
        "--output",
        "type=oci,tar=false,dest=layout,name=example.com/kiln:v1",
    ]);
    let index: Value = serde_json::from_str(&world.read("layout/index.json")).unwrap();
    let annotations = &index["manifests"][0]["annotations"];
    assert_eq!(annotations["org.opencontainers.image.ref.name"], "v1");
    let image = format!("{}:v1", text(&world.path("layout")));
    let bundle = world.path("bundle");
    tool("umoci", &["unpack", "--image", &image, text(&bundle)]);
    // No terminal and no network of its own: what tests can give it.
    let config = bundle.join("config.json");
    let mut spec: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    spec["process"]["terminal"] = Value::Bool(false);
    std::fs::write(&config, spec.to_string()).unwrap();
    let id = format!("kiln-test-{}", std::process::id());
    assert_eq!(
        tool("runc", &["run", "--bundle", text(&bundle), &id]),
        "made\n"
    );
}

#[test]
fn archives_go_to_standard_output() {
    let world = world();
    let output = world
        .build_command(&["--output", "type=tar"])
        .output()
        .unwrap();
    assert!(output.status.success());
    std::fs::write(world.path("out.tar"), output.stdout).unwrap();
    assert_has(
        &tool("tar", &["tf", text(&world.path("out.tar"))]),
        "out/made",
    );
}

#[test]
fn outputs_are_the_same_on_every_run() {
    let world = world();
    let build = |name: &str| {
        let oci = format!("type=oci,dest={name}.oci");
        world.must_build(&[
            "--opt",
            "build-arg:SOURCE_DATE_EPOCH=1700000000",
            "--output",
            &oci,
        ]);
        std::fs::read(world.path(&format!("{name}.oci"))).unwrap()
    };
    let first = build("first");
    assert!(first == build("second"), "two archives of one build differ");
}

#[test]
fn local_output_does_not_leave_its_directory() {
    let world = World::with_busybox();
    world.on_busybox("FROM scratch\nCOPY --from=busybox /etc/passwd /link/passwd\n");
    std::fs::create_dir_all(world.path("files")).unwrap();
    std::fs::create_dir_all(world.path("outside")).unwrap();
    std::os::unix::fs::symlink(world.path("outside"), world.path("files/link")).unwrap();
    let _ = world.build(&["--output", "type=local,dest=files"]);
    assert!(
        !world.exists("outside/passwd"),
        "a symlink in the destination was followed"
    );
}

#[test]
fn unknown_keys_are_refused_with_a_suggestion() {
    let world = world();
    let error = world.must_fail(&["--output", "type=oci,dest=x.tar,compresion=zstd"]);
    assert_has(&error, "compresion");
    assert_has(&error, "compression");
}

#[test]
fn terminals_are_not_written_to() {
    let world = world();
    let script = format!(
        "{} --root root build --frontend dockerfile.v0 --local context=context --local dockerfile=context \
         --output type=oci",
        env!("CARGO_BIN_EXE_buildctl")
    );
    let mut command = std::process::Command::new("script");
    command.current_dir(world.path(".")).args([
        "--quiet",
        "--return",
        "--command",
        &script,
        "/dev/null",
    ]);
    let ran = ran(command.stdin(std::process::Stdio::null()).output().unwrap());
    assert!(!ran.success);
    assert_has(&ran.stdout, "refusing to write to console");
}

#[test]
fn build_information_goes_where_it_is_wanted() {
    let world = world();
    let registry = Registry::start().unwrap();
    let base = format!("{}/base:1", registry.host());
    let pushed = format!("type=registry,name={base}");
    world.must_build(&["--output", &pushed]);
    world.dockerfile(&format!("FROM {base}\nARG WHO\nRUN true\n"));
    for (place, in_config, in_answer) in [
        ("all", true, true),
        ("imageconfig", true, false),
        ("metadata", false, true),
        ("none", false, false),
    ] {
        let output = format!("type=oci,dest={place}.tar,buildinfo={place}");
        let metadata = format!("{place}.json");
        let flags = ["--output", &output, "--metadata-file", &metadata];
        world.must_build(&[&flags[..], &["--opt", "build-arg:WHO=me"]].concat());

        let archive = format!("oci-archive:{}", text(&world.path(&format!("{place}.tar"))));
        let config = tool("skopeo", &["inspect", "--config", "--raw", &archive]);
        let config: Value = serde_json::from_str(&config).unwrap();
        let info = config.get("moby.buildkit.buildinfo.v1");
        assert_eq!(info.is_some(), in_config, "{place}");
        if let Some(info) = info {
            let info = BASE64.decode(info.as_str().unwrap()).unwrap();
            let info: Value = serde_json::from_slice(&info).unwrap();
            assert_eq!(info["frontend"], "dockerfile.v0");
            assert_eq!(info["sources"][0]["type"], "docker-image");
            assert_eq!(info["sources"][0]["ref"], base);
            assert!(info["sources"][0]["pin"].is_string(), "{info}");
            assert!(info.get("attrs").is_none(), "{info}");
        }
        let answer: Value = serde_json::from_str(&world.read(&metadata)).unwrap();
        let info = answer.get("containerimage.buildinfo");
        assert_eq!(info.is_some(), in_answer, "{place}: {answer}");
        if let Some(info) = info {
            assert_eq!(info["attrs"]["build-arg:WHO"], "me");
        }
    }
}

/// A large layer is on its way as soon as it is made, also to a registry that wants a password.
#[test]
fn large_layers_are_sent_while_they_are_made() {
    let world = World::new();
    let protection = Protection {
        basic: Some(("user".into(), "pass".into())),
        ..Protection::default()
    };
    let registry = Registry::start_protected(protection).unwrap();
    let proxy = FaultyProxy::start_with(&registry.host(), |_, _| None).unwrap();
    let auths = json!({"auths": {proxy.host(): {"auth": BASE64.encode("user:pass")}}});
    world.write("docker/config.json", auths.to_string());
    let random = std::fs::File::open("/dev/urandom").unwrap();
    let mut large = Vec::new();
    random.take(24 << 20).read_to_end(&mut large).unwrap();
    world.write("context/large", large);
    world.dockerfile("FROM scratch\nCOPY large /\nCOPY Dockerfile /\n");
    let output = format!("type=image,name={}/app:1,push=true", proxy.host());
    world.must_build(&["--output", &output]);
    let lines = proxy.lines();
    let patches = lines.iter().filter(|line| line.starts_with("PATCH "));
    assert_eq!(patches.count(), 1, "{lines:?}");
    let image = format!("docker://{}/app:1", registry.host());
    let copy = format!("dir:{}", text(&world.path("copy")));
    let flags = ["copy", "--src-tls-verify=false", "--src-creds=user:pass"];
    tool(
        "skopeo",
        &[&flags[..], &["--insecure-policy", &image, &copy]].concat(),
    );
}
