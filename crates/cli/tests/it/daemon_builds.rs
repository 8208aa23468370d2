//! Builds through our own daemon: the same results as without it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::daemon::Daemon;
use crate::world::{World, assert_has, outcome, ran, text, tool};

const EPOCH: [&str; 2] = ["--opt", "build-arg:SOURCE_DATE_EPOCH=1700000000"];

fn world() -> World {
    let world = World::with_busybox();
    world.on_busybox(
        "RUN echo made > /made && mkdir -p /srv/a && ln -s ../made /srv/link\n\
         FROM scratch\n\
         COPY --from=busybox /bin/busybox /bin/sh\n\
         COPY --from=busybox /made /srv /out/\n\
         LABEL who=\"a & b\"\nCMD [\"/bin/sh\"]\n",
    );
    world
}

/// Outputs of each kind, below a folder.
fn outputs(folder: &str) -> Vec<String> {
    let outputs = [
        format!("type=local,dest={folder}/files"),
        format!("type=tar,dest={folder}/files.tar"),
        format!("type=oci,dest={folder}/oci.tar,name=example.com/kiln:v1,rewrite-timestamp=true"),
        format!("type=docker,dest={folder}/docker.tar,name=kiln:v1,rewrite-timestamp=true"),
    ];
    let outputs = outputs
        .into_iter()
        .flat_map(|output| ["--output".to_owned(), output]);
    let metadata = [
        "--metadata-file".to_owned(),
        format!("{folder}/metadata.json"),
    ];
    outputs
        .chain(metadata)
        .chain(EPOCH.map(str::to_owned))
        .collect()
}

/// Runs docker-buildx, with settings of its own, against a daemon.
fn buildx(world: &World, arguments: &[&str]) {
    let output = Command::new(kiln_testkit::tools::buildx())
        .current_dir(world.path("."))
        .env("BUILDX_CONFIG", world.path("buildx"))
        .env("DOCKER_CONFIG", world.path("docker"))
        .env_remove("SOURCE_DATE_EPOCH")
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn docker_buildx_makes_the_same_image() {
    let world = world();
    let daemon = Daemon::start(&world);
    let output = |file: &str| format!("type=oci,dest={file},rewrite-timestamp=true");
    let digest = |metadata: &str| -> Value {
        let metadata: Value = serde_json::from_str(&world.read(metadata)).unwrap();
        metadata["containerimage.digest"].clone()
    };
    let own = [
        &[
            "--output",
            &output("own.tar"),
            "--metadata-file",
            "own.json",
        ],
        &EPOCH[..],
    ];
    world.must_build(&own.concat());
    let own = digest("own.json");
    assert!(own.is_string(), "{own}");

    buildx(
        &world,
        &[
            "create",
            "--name",
            "kiln",
            "--driver",
            "remote",
            &daemon.address,
        ],
    );
    let output = output("theirs.tar");
    buildx(
        &world,
        &[
            "build",
            "--builder",
            "kiln",
            "--provenance=false",
            "--build-arg",
            "SOURCE_DATE_EPOCH=1700000000",
            "--output",
            &output,
            "--metadata-file",
            "theirs.json",
            "context",
        ],
    );
    assert_eq!(digest("theirs.json"), own);
}

#[test]
fn results_equal_those_of_the_engine_in_this_process() {
    let world = world();
    let daemon = Daemon::start(&world);
    for folder in ["embedded", "remote"] {
        std::fs::create_dir(world.path(folder)).unwrap();
        let outputs = outputs(folder);
        let outputs = outputs.iter().map(String::as_str).collect::<Vec<_>>();
        match folder {
            "embedded" => world.must_build(&outputs),
            _ => daemon.must_build(&world, &outputs),
        };
    }
    let metadata = |folder: &str| -> Value {
        serde_json::from_str(&world.read(&format!("{folder}/metadata.json"))).unwrap()
    };
    let (here, there) = (metadata("embedded"), metadata("remote"));
    assert_eq!(
        here["containerimage.digest"],
        there["containerimage.digest"]
    );
    assert!(here["containerimage.digest"].is_string(), "{here}");
    for file in ["files.tar", "oci.tar", "docker.tar"] {
        let read = |folder: &str| std::fs::read(world.path(&format!("{folder}/{file}"))).unwrap();
        assert!(read("embedded") == read("remote"), "{file} differs");
    }
    let list = |folder: &str| {
        let script = format!(
            "cd {}/files && find . -printf '%P %y %m %s %l\\n' | sort",
            text(&world.path(folder))
        );
        tool("sh", &["-c", &script])
    };
    // The mode of a destination that exists is its owner's business.
    let without_root = |list: String| list.lines().skip(1).collect::<Vec<_>>().join("\n");
    assert_eq!(without_root(list("embedded")), without_root(list("remote")));
    assert_eq!(world.read("remote/files/out/made"), "made\n");
}

#[test]
fn archives_and_layouts() {
    let world = world();
    let daemon = Daemon::start(&world);
    let build = daemon
        .build_command(&world, &["--output", "type=tar"])
        .output()
        .unwrap();
    assert!(
        build.status.success(),
        "{}",
        String::from_utf8_lossy(&build.stderr)
    );
    std::fs::write(world.path("out.tar"), build.stdout).unwrap();
    assert_has(
        &tool("tar", &["tf", text(&world.path("out.tar"))]),
        "out/made",
    );
    daemon.must_build(
        &world,
        &[
            "--output",
            "type=oci,tar=false,dest=layout,name=example.com/kiln:v1",
        ],
    );
    let layout = format!("oci:{}:v1", text(&world.path("layout")));
    let inspected: Value = serde_json::from_str(&tool("skopeo", &["inspect", &layout])).unwrap();
    assert_eq!(inspected["Labels"]["who"], "a & b");
}

#[test]
fn contexts_are_sent_again_only_where_they_changed() {
    let world = World::new();
    world.dockerfile("FROM scratch\nCOPY data /data\n");
    for n in 0..20 {
        world.write(&format!("context/data/{n}"), vec![b'x'; 100_000]);
    }
    let daemon = Daemon::start(&world);
    let build = || daemon.must_build(&world, &["--output", "type=local,dest=files"]);
    build();
    let second = build();
    assert_eq!(outcome(&second, "COPY data /data"), "CACHED");
    world.write("context/data/7", "changed");
    std::fs::remove_file(world.path("context/data/8")).unwrap();
    let third = build();
    assert_eq!(outcome(&third, "COPY data /data"), "DONE");
    assert_eq!(world.read("files/data/7"), "changed");
    let mut sent = third
        .lines()
        .filter(|line| line.contains("transferring context:"));
    let sent = sent
        .next_back()
        .unwrap_or_else(|| panic!("no transfer in:\n{third}"));
    assert!(!sent.contains("MB"), "all was sent again: {sent}");
}

#[test]
fn secrets_and_variables_reach_steps() {
    let world = World::with_busybox();
    world.write("token", "from a file");
    world.on_busybox(
        "ARG NAME\n\
         RUN --mount=type=secret,id=a cat /run/secrets/a > /a\n\
         RUN --mount=type=secret,id=b,env=B printf '%s' \"$B\" > /b\n\
         RUN printf '%s' \"$NAME\" > /c\n",
    );
    let daemon = Daemon::start(&world);
    let mut build = daemon.build_command(
        &world,
        &[
            "--secret",
            "id=a,src=token",
            "--secret",
            "id=b,env=SECRET",
            "--opt",
            "build-arg:NAME",
            "--output",
            "type=local,dest=files",
        ],
    );
    let ran = ran(build
        .env("SECRET", "from a variable")
        .env("NAME", "argument")
        .output()
        .unwrap());
    assert!(ran.success, "{}", ran.stderr);
    assert_eq!(world.read("files/a"), "from a file");
    assert_eq!(world.read("files/b"), "from a variable");
    assert_eq!(world.read("files/c"), "argument");
}

#[test]
fn local_caches_serve_another_daemon() {
    let world = World::with_busybox();
    world.on_busybox("RUN echo made > /made\n");
    {
        let daemon = Daemon::with(&world, &["--root", "first"]);
        daemon.must_build(
            &world,
            &["--export-cache", "type=local,dest=cache,mode=max"],
        );
    }
    assert!(world.exists("cache/index.json"));
    let daemon = Daemon::with(&world, &["--root", "second"]);
    let progress = daemon.must_build(
        &world,
        &[
            "--import-cache",
            "type=local,src=cache",
            "--output",
            "type=local,dest=files",
        ],
    );
    assert_eq!(outcome(&progress, "RUN echo made"), "CACHED");
    assert_eq!(world.read("files/made"), "made\n");
    let missing = daemon.must_build(&world, &["--import-cache", "type=local,src=nothing"]);
    assert_has(&missing, "local cache import at nothing skipped");
}

#[test]
fn errors_read_as_those_of_the_engine_in_this_process() {
    let world = World::with_busybox();
    let daemon = Daemon::start(&world);
    for dockerfile in [
        "FROM scratch\nCOPY nothing /\n",
        "FROM scratch\nNONSENSE\n",
        "FROM scratch\n\nRUN [\"/nothing\"]\n",
        "FROM scratch AS busybox\nCOPY rootfs /\nRUN echo why >&2; exit 7\n",
    ] {
        world.dockerfile(dockerfile);
        let told = |progress: String| {
            let place = progress.find("Dockerfile:").or(progress.find("error: "));
            let text = progress[place.unwrap()..].to_owned();
            // The names of trees are random.
            let Some((before, after)) = text.split_once("checksum of ref ") else {
                return text;
            };
            let (_, after) = after.split_once(':').unwrap();
            format!("{before}checksum of a ref:{after}")
        };
        let here = told(world.must_fail(&[]));
        let there = told(daemon.must_fail(&world, &[]));
        assert_eq!(here, there, "{dockerfile}");
    }
}

#[test]
fn an_interrupted_build_ends_in_the_daemon() {
    use std::io::{BufRead as _, BufReader};
    let world = World::with_busybox();
    let sleep = format!("sleep 9{}", std::process::id());
    world.on_busybox(&format!("RUN echo started && {sleep}\n"));
    let daemon = Daemon::start(&world);
    let mut build = daemon
        .build_command(&world, &[])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(build.stderr.as_mut().unwrap()).lines();
    let started = lines.any(|line| line.is_ok_and(|line| line.contains(" started")));
    assert!(started, "the build ended early");
    let pid = rustix::process::Pid::from_child(&build);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = build.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert_has(&String::from_utf8_lossy(&output.stderr), "context canceled");
    crate::processes::wait_until("the end of the step", || {
        !crate::processes::is_running(&sleep)
    });
}

#[test]
fn frontends_answer_requests() {
    let world = World::new();
    world.dockerfile("# builds\nFROM scratch AS one\nFROM one AS two\n");
    let daemon = Daemon::start(&world);
    let request = ["--opt", "requestid=frontend.targets"];
    let there = ran(daemon.build_command(&world, &request).output().unwrap());
    assert!(there.success, "{}", there.stderr);
    let here = ran(world.build_command(&request).output().unwrap());
    assert_eq!(there.stdout, here.stdout);
    let unknown = daemon.must_fail(&world, &["--opt", "requestid=frontend.nonsense"]);
    assert_has(&unknown, "frontend.nonsense");
}

#[test]
fn definitions_come_by_standard_input() {
    let world = World::new();
    let daemon = Daemon::start(&world);
    let mut build = daemon.command(&world, &["build", "--output", "type=local,dest=files"]);
    let mut build = build
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let definition = crate::command_line::kiln_llb_definition();
    build.stdin.take().unwrap().write_all(&definition).unwrap();
    let ran = ran(build.wait_with_output().unwrap());
    assert!(ran.success, "{}", ran.stderr);
    assert_eq!(world.read("files/hello"), "world");
}
