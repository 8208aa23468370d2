//! `--output type=docker,dest=docker://`: images go straight into a real Docker engine, and only as much of them as it
//! lacks. What is sent is counted by a proxy before the engine's socket.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::Command;

use kiln_testkit::docker::{Docker, ImageStore};
use kiln_testkit::proxy::Proxy;

use crate::daemon::Daemon;
use crate::world::{World, assert_has, ran};

const LOAD: &str = "POST /images/load";
/// What naming an image that is there takes: its config and its manifests.
const NAMING: u64 = 32 << 10;
/// The layer that changes, and the one that stays.
const CHANGED: u64 = 300 << 10;

/// A world with an engine, a daemon and a proxy between them.
struct Delivery {
    world: World,
    proxy: Proxy,
    docker: Docker,
    daemon: Option<Daemon>,
}

impl Delivery {
    fn start(store: ImageStore) -> Self {
        let world = World::with_busybox();
        world.on_busybox(
            "FROM busybox\nCOPY kept /kept\nCOPY changed /changed\nCOPY last /last\n\
             CMD [\"sh\", \"-c\", \"wc -c < /changed; cat /last\"]\n",
        );
        world.write("context/kept", noise(1, 3 << 20));
        world.write("context/last", "last\n");
        let docker = Docker::start(store).unwrap();
        let proxy = Proxy::start(&docker.socket()).unwrap();
        let delivery = Self {
            world,
            proxy,
            docker,
            daemon: None,
        };
        delivery.change(2);
        delivery
    }

    /// Gives the layer other content.
    fn change(&self, seed: u64) {
        self.world.write("context/changed", noise(seed, CHANGED));
    }

    fn output(&self, keys: &str) -> String {
        let socket = self.proxy.socket();
        format!("type=docker,dest=docker://{}{keys}", socket.display())
    }

    /// Builds, and says how much was sent in each load.
    fn build(&self, keys: &str, more: &[&str]) -> (String, Vec<u64>) {
        let output = self.output(keys);
        let arguments = [&["--output", output.as_str()], more].concat();
        self.proxy.take("");
        let progress = match &self.daemon {
            None => self.world.must_build(&arguments),
            Some(daemon) => daemon.must_build(&self.world, &arguments),
        };
        (progress, self.proxy.take(LOAD))
    }

    fn docker(&self, arguments: &[&str]) -> String {
        let ran = ran(self.docker.command().args(arguments).output().unwrap());
        assert!(ran.success, "docker {arguments:?}: {}", ran.stderr);
        ran.stdout
    }

    fn runs(&self, name: &str) {
        let printed = self.docker(&["run", "--rm", "--network=none", name]);
        assert_eq!(printed, format!("{CHANGED}\nlast\n"));
    }
}

/// Bytes that nothing makes smaller.
fn noise(seed: u64, length: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    bytes.flatten().take(length as usize).collect()
}

#[track_caller]
fn assert_near(sent: &[u64], expected: u64) {
    let [sent] = sent else {
        panic!("loads: {sent:?}");
    };
    assert!(
        (expected..expected + NAMING).contains(sent),
        "sent {sent} bytes instead of {expected}"
    );
}

/// The life of an image, from its first load on.
fn only_what_changed_is_sent(mut delivery: Delivery, with_daemon: bool) {
    if with_daemon {
        delivery.daemon = Some(Daemon::start(&delivery.world));
    }
    let (_, sent) = delivery.build(",name=app:1", &[]);
    assert!(sent.len() == 1 && sent[0] > 4 << 20, "{sent:?}");
    delivery.runs("app:1");

    let (progress, sent) = delivery.build(",name=app:1", &[]);
    assert_near(&sent, 0);
    assert_has(&progress, "4 layers are there already");

    let (_, sent) = delivery.build(",\"name=app:2,other:3\"", &[]);
    assert_near(&sent, 0);
    let ids = ["app:1", "app:2", "other:3"].map(|name| {
        let id = delivery.docker(&["image", "inspect", "--format", "{{.Id}}", name]);
        id.trim().to_owned()
    });
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0], ids[2]);

    delivery.change(3);
    let (_, sent) = delivery.build(",name=app:1", &[]);
    assert_near(&sent, CHANGED);
    delivery.runs("app:1");

    // What the engine says it has is gone when the image comes.
    let removing = delivery.docker.command();
    let removing = std::sync::Mutex::new(removing);
    delivery.proxy.before(LOAD, move || {
        let mut removing = removing.lock().unwrap();
        let images = ["app:1", "app:2", "other:3"];
        let removed = removing.args(["rmi", "-f"]).args(images).output().unwrap();
        assert!(removed.status.success(), "{removed:?}");
    });
    delivery.change(4);
    let (progress, sent) = delivery.build(",name=app:1", &[]);
    assert_has(&progress, "sending the whole image after a failure");
    assert!(sent.len() == 2 && sent[1] > 4 << 20, "{sent:?}");
    delivery.runs("app:1");
}

#[test]
fn only_what_changed_is_sent_to_graph_drivers() {
    only_what_changed_is_sent(Delivery::start(ImageStore::Graph), false);
}

#[test]
fn only_what_changed_is_sent_to_graph_drivers_by_a_daemon() {
    only_what_changed_is_sent(Delivery::start(ImageStore::Graph), true);
}

#[test]
fn only_what_changed_is_sent_to_containerd() {
    only_what_changed_is_sent(Delivery::start(ImageStore::Containerd), false);
}

#[test]
fn only_what_changed_is_sent_to_containerd_by_a_daemon() {
    only_what_changed_is_sent(Delivery::start(ImageStore::Containerd), true);
}

#[test]
fn layers_of_a_loaded_archive_are_not_sent_again() {
    // They are gzip there, which containerd keeps and graph drivers unpack.
    let delivery = Delivery::start(ImageStore::Graph);
    delivery
        .world
        .must_build(&["--output", "type=docker,dest=image.tar,name=app:1"]);
    let archive = delivery.world.path("image.tar");
    delivery.docker(&["load", "--input", archive.to_str().unwrap()]);
    let (_, sent) = delivery.build(",name=app:2", &[]);
    assert_near(&sent, 0);
}

#[test]
fn of_several_platforms_the_engine_gets_what_it_keeps() {
    let platforms = ["--opt", "platform=linux/amd64,linux/arm64"];
    for store in [ImageStore::Graph, ImageStore::Containerd] {
        let delivery = Delivery::start(store);
        delivery.world.dockerfile(
            "FROM scratch\nARG TARGETARCH\nCOPY kept /kept\nCOPY ${TARGETARCH} /changed\n",
        );
        delivery.world.write("context/amd64", noise(5, CHANGED));
        delivery.world.write("context/arm64", noise(6, CHANGED));
        let changed = match store {
            ImageStore::Graph => CHANGED,
            ImageStore::Containerd => 2 * CHANGED,
        };
        let (_, sent) = delivery.build(",name=app:1", &platforms);
        assert_near(&sent, (3 << 20) + changed);
        let (_, sent) = delivery.build(",name=app:1", &platforms);
        assert_near(&sent, 0);
        let architecture = ["image", "inspect", "--format", "{{.Architecture}}", "app:1"];
        let host = match std::env::consts::ARCH {
            "x86_64" => "amd64\n",
            _ => "arm64\n",
        };
        assert_eq!(delivery.docker(&architecture), host);
    }
}

#[test]
fn engines_that_cannot_be_used_are_named() {
    let world = World::new();
    world.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    let deaf = world.path("deaf.sock");
    drop(UnixListener::bind(&deaf).unwrap());
    let foreign = world.path("foreign.sock");
    let listener = UnixListener::bind(&foreign).unwrap();
    let stranger = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let _ = client.read(&mut [0; 1024]);
        let _ = client.write_all(b"220 mail.example.com ESMTP\r\n");
    });
    let check = |dest: String, host: Option<&str>, expected: &[&str]| {
        let output = format!("type=docker,name=a,dest={dest}");
        let mut command = world.build_command(&["--output", &output]);
        command.env_remove("DOCKER_HOST");
        command.envs(host.map(|host| ("DOCKER_HOST", host)));
        let ran = ran(command.output().unwrap());
        assert!(!ran.success, "{dest}: {}", ran.stderr);
        for part in expected {
            assert_has(&ran.stderr, part);
        }
    };
    let missing = world.path("none.sock").display().to_string();
    let hint = "name its socket with dest=docker:///PATH or DOCKER_HOST";
    check(
        format!("docker://{missing}"),
        None,
        &[&missing, "No such file", hint],
    );
    check(
        "docker://".into(),
        Some(&format!("unix://{missing}")),
        &[&missing, hint],
    );
    let deaf = deaf.display().to_string();
    check(
        format!("docker://{deaf}"),
        None,
        &[&deaf, "start the engine"],
    );
    let foreign = foreign.display().to_string();
    let strange = "does not speak like a Docker engine";
    check(format!("docker://{foreign}"), None, &[&foreign, strange]);
    stranger.join().unwrap();
    let piped = "pipe the image into docker load";
    check(
        "docker://".into(),
        Some("tcp://127.0.0.1:2375"),
        &["tcp://127.0.0.1:2375", piped],
    );
    check("docker://host".into(), None, &["docker:///PATH/TO/SOCKET"]);
    check(
        "docker:///a,tar=false".into(),
        None,
        &["takes type=docker without tar="],
    );
}

#[test]
fn what_the_engine_says_is_shown() {
    let world = World::new();
    world.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    let socket = world.path("full.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let engine = std::thread::spawn(move || {
        for body in [
            r#"{"Driver":"overlay2"}"#,
            "[]",
            "{\"stream\":\"a\"}\n{\"errorDetail\":{\"message\":\"no space left on device\"},\"error\":\"x\"}\n",
        ] {
            let (mut client, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            let mut buffer = [0; 4096];
            // A question ends with an empty line, an archive with an empty chunk.
            while !(seen.ends_with(b"\r\n\r\n")
                && (seen.starts_with(b"GET") || seen.ends_with(b"\r\n0\r\n\r\n")))
            {
                let length = client.read(&mut buffer).unwrap();
                assert_ne!(length, 0);
                seen.extend_from_slice(&buffer[..length]);
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            client.write_all(head.as_bytes()).unwrap();
            client.write_all(body.as_bytes()).unwrap();
        }
    });
    let output = format!("type=docker,name=a,dest=docker://{}", socket.display());
    let error = world.must_fail(&["--output", &output]);
    assert_has(&error, "no space left on device");
    assert_has(&error, &socket.display().to_string());
    engine.join().unwrap();
}

#[test]
fn a_pipe_gets_layers_as_they_are() {
    let world = World::new();
    world.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    let media_type = |command: &str| {
        let mut shell = Command::new("sh");
        shell.current_dir(world.path("."));
        let buildctl = env!("CARGO_BIN_EXE_buildctl");
        let line = format!(
            "{buildctl} --root root build --frontend dockerfile.v0 --local context=context \
             --local dockerfile=context {command} && skopeo inspect --raw oci-archive:out.tar"
        );
        let ran = ran(shell.args(["-e", "-c", &line]).output().unwrap());
        assert!(ran.success, "{command}: {}", ran.stderr);
        let manifest: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let media_type = manifest["layers"][0]["mediaType"].as_str().unwrap();
        media_type
            .trim_start_matches("application/vnd.oci.image.layer.v1.")
            .to_owned()
    };
    assert_eq!(
        media_type("--output type=docker,name=a | cat > out.tar"),
        "tar"
    );
    assert_eq!(
        media_type("--output type=docker,name=a > out.tar"),
        "tar+gzip"
    );
    assert_eq!(
        media_type("--output type=oci,name=a | cat > out.tar"),
        "tar+gzip"
    );
    assert_eq!(
        media_type("--output type=docker,name=a,compression=zstd | cat > out.tar"),
        "tar+zstd"
    );
}
