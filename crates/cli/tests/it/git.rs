//! Git repositories in Dockerfiles and as contexts.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use kiln_testkit::git::{Repository, TIME};
use kiln_testkit::web::WebServer;

use crate::daemon::{Daemon, Engine};
use crate::world::{Ran, World, assert_has, outcome, ran, text, tool};

const FILES: [&str; 2] = ["--output", "type=local,dest=files"];
/// The header of the token `sesame`.
const OPEN: &str = "Basic eC1hY2Nlc3MtdG9rZW46c2VzYW1l";

/// A world with a repository that a server gives to anybody at `/git/a.git`, and with a token at `/closed/a.git`.
struct Served {
    world: World,
    server: WebServer,
    repository: Repository,
}

impl Served {
    fn new() -> Self {
        let world = World::new();
        let server = WebServer::start().unwrap();
        let repository = Repository::new(world.path("served/a.git"), &[]);
        let dockerfile = "FROM scratch\nCOPY . /\n";
        repository.commit(&[
            ("Dockerfile", dockerfile),
            (".dockerignore", "left-out\n"),
            ("left-out", "x"),
            ("f", "one"),
            ("sub/Dockerfile", dockerfile),
            ("sub/g", "in sub"),
        ]);
        repository.git(&["tag", "--annotate", "--message=tag", "v1"]);
        repository.commit(&[("f", "two")]);
        server.serve_repositories("/git/", &world.path("served"), None);
        server.serve_repositories("/closed/", &world.path("served"), Some(OPEN));
        world.write("token", "sesame\n");
        Self {
            world,
            server,
            repository,
        }
    }

    fn url(&self, rest: &str) -> String {
        self.server.url(&format!("/git/a.git{rest}"))
    }
}

/// A build with a context that is not of this machine.
fn remote_build(mut command: Command, context: &str, arguments: &[&str]) -> Ran {
    let context = format!("context={context}");
    command.args(["build", "--progress=plain", "--frontend", "dockerfile.v0"]);
    command.args(["--opt", &context]).args(arguments);
    ran(command.output().unwrap())
}

#[test]
fn repositories_are_contexts_of_either_engine() {
    let served = Served::new();
    let (world, url) = (&served.world, served.url(""));
    let daemon = Daemon::start(world);
    let epoch = ["--opt", "build-arg:SOURCE_DATE_EPOCH=context"];
    let provenance = ["--opt", "attest:provenance=mode=max"];
    let commit = served.repository.git(&["rev-parse", "HEAD"]);
    for engine in Engine::BOTH {
        let command = || match engine {
            Engine::Own => world.command(&[]),
            Engine::Daemon => daemon.command(world, &[]),
        };
        let all = [&FILES[..], &epoch, &provenance].concat();
        let built = remote_build(command(), &url, &all);
        assert!(built.success, "{}", built.stderr);
        assert_has(&built.stderr, &format!("[internal] load git source {url}"));
        assert_eq!(world.read("files/f"), "two");
        // As in BuildKit, ignore files are of no account in contexts that are not directories of the client.
        assert!(world.exists("files/left-out") && !world.exists("files/.git"));
        let statement = world.read("files/provenance.json");
        assert_has(&statement, &commit);
        assert_has(&statement, "sha1");
        let again = remote_build(command(), &url, &FILES);
        assert_eq!(outcome(&again.stderr, "COPY . /"), "CACHED");
        for (rest, file, content) in [
            ("#v1", "f", "one"),
            ("#main:sub", "g", "in sub"),
            ("?tag=v1&subdir=sub", "g", "in sub"),
            ("?keep-git-dir=true", ".git/HEAD", &format!("{commit}\n")),
        ] {
            let built = remote_build(command(), &served.url(rest), &FILES);
            assert!(built.success, "{rest}: {}", built.stderr);
            assert_eq!(world.read(&format!("files/{file}")), content, "{rest}");
        }
        std::fs::remove_dir_all(world.path("files")).unwrap();
    }
}

#[test]
fn the_time_of_a_context_is_that_of_its_commit() {
    let served = Served::new();
    let arguments = [
        "--opt",
        "build-arg:SOURCE_DATE_EPOCH=context",
        "--output",
        "type=oci,dest=image.tar",
    ];
    let built = remote_build(served.world.command(&[]), &served.url(""), &arguments);
    assert!(built.success, "{}", built.stderr);
    assert_has(&built.stderr, "resolve main build context metadata");
    let image = format!("oci-archive:{}", served.world.path("image.tar").display());
    let config = tool("skopeo", &["inspect", "--config", &image]);
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["created"], "2015-10-21T07:28:00Z", "{TIME}");
}

#[test]
fn repositories_are_added_and_named() {
    let served = Served::new();
    let (world, url) = (&served.world, served.url(""));
    let commit = served.repository.git(&["rev-parse", "v1^{}"]);
    world.dockerfile(&format!(
        "FROM scratch\n\
         ADD {url} /all/\n\
         ADD --keep-git-dir {url}#main /kept/\n\
         ADD --checksum={} --chown=3:4 {url}#v1:sub /part/\n\
         COPY --from=named f /named\n",
        &commit[..12],
    ));
    let named = format!("context:named={url}#v1");
    let arguments = [&FILES[..], &["--opt", &named]].concat();
    world.must_build(&arguments);
    assert_eq!(world.read("files/all/f"), "two");
    assert!(!world.exists("files/all/.git"));
    assert!(world.exists("files/kept/.git/HEAD"));
    assert_eq!(world.read("files/part/g"), "in sub");
    assert_eq!(world.read("files/named"), "one");
    let progress = world.must_build(&arguments);
    // The last one builds on all the others.
    assert_eq!(outcome(&progress, "COPY --from=named"), "CACHED");
    served.repository.commit(&[("f", "three")]);
    world.must_build(&arguments);
    assert_eq!(world.read("files/all/f"), "three");
    let mask = |text: &str| text.replace(&commit[..12], "000000000000");
    world.dockerfile(&mask(&world.read("context/Dockerfile")));
    let error = world.must_fail(&arguments);
    assert_has(&error, "expected checksum to match 000000000000, got");
    assert_has(&error, "Dockerfile:4");
    world.dockerfile(&format!("FROM scratch\nADD {url}#gone /\n"));
    let error = world.must_fail(&[]);
    assert_has(&error, "repository does not contain ref gone");
    assert_has(&error, "Dockerfile:2");
    assert_has(&error, "hint: ");
}

#[test]
fn tokens_open_repositories_and_are_never_shown() {
    let served = Served::new();
    let world = &served.world;
    let url = served.server.url("/closed/a.git");
    world.dockerfile(&format!("FROM scratch\nADD {url} /\n"));
    let error = world.must_fail(&[]);
    assert_has(&error, &url);
    assert_has(&error, "--secret id=GIT_AUTH_TOKEN");
    let daemon = Daemon::start(world);
    let secret = ["--secret", "id=GIT_AUTH_TOKEN,src=token"];
    let progress = [
        world.must_build(&[&FILES[..], &secret].concat()),
        daemon.must_build(world, &[&FILES[..], &secret].concat()),
    ];
    assert_eq!(world.read("files/f"), "two");
    assert!(!progress.concat().contains("sesame"));
}

/// OpenSSH's server for one key, on a port of its own; stopped on drop.
struct SshServer {
    child: Child,
    port: u16,
}

impl SshServer {
    fn start(world: &World) -> Self {
        for name in ["host", "key"] {
            let file = world.path(name);
            tool(
                "ssh-keygen",
                &["-q", "-t", "ed25519", "-N", "", "-f", text(&file)],
            );
        }
        // The port is free until the server takes it: nobody else on this machine listens to fixed ones.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let settings = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             UsePAM no\nStrictModes no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n",
            text(&world.path("host")),
            text(&world.path("key.pub")),
        );
        world.write("sshd_config", settings);
        std::fs::create_dir_all("/run/sshd").unwrap();
        let mut child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", text(&world.path("sshd_config"))])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("sshd: {error}; run cargo xtask setup"));
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let is_ready = said.any(|line| line.unwrap().contains("Server listening"));
        assert!(is_ready, "sshd does not listen");
        std::thread::spawn(move || said.for_each(drop));
        Self { child, port }
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn agents_open_repositories_by_ssh() {
    let served = Served::new();
    let world = &served.world;
    let server = SshServer::start(world);
    let place = text(served.repository.path()).to_owned();
    world.dockerfile(&format!(
        "FROM scratch\nADD ssh://root@127.0.0.1:{}{place} /\n",
        server.port
    ));
    let error = world.must_fail(&[]);
    assert_has(&error, "no SSH key \"default\" forwarded from the client");
    assert_has(&error, "--ssh default");
    let ssh = format!("default={}", text(&world.path("key")));
    let arguments = [&FILES[..], &["--ssh", &ssh]].concat();
    world.must_build(&arguments);
    assert_eq!(world.read("files/f"), "two");
    tool(
        "ssh-keygen",
        &[
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-f",
            text(&world.path("other")),
        ],
    );
    let ssh = format!("default={}", text(&world.path("other")));
    let daemon = Daemon::start(world);
    let error = daemon.must_fail(world, &["--ssh", &ssh]);
    assert_has(&error, "Permission denied (publickey)");
    assert_has(&error, &place);
}

#[test]
fn docker_buildx_builds_from_a_repository() {
    let served = Served::new();
    let world = &served.world;
    let daemon = Daemon::start(world);
    let buildx = |arguments: &[&str]| {
        let output = Command::new(kiln_testkit::tools::buildx())
            .current_dir(world.path("."))
            .env("BUILDX_CONFIG", world.path("buildx"))
            .env("DOCKER_CONFIG", world.path("docker"))
            .args(arguments)
            .output();
        let ran = ran(output.unwrap());
        assert!(ran.success, "{}", ran.stderr);
    };
    buildx(&["create", "--name=kiln", "--driver=remote", &daemon.address]);
    let context = served.server.url("/closed/a.git#main:sub");
    let secret = "--secret=id=GIT_AUTH_TOKEN,src=token";
    let output = "--output=type=local,dest=files";
    buildx(&["build", "--builder=kiln", secret, output, &context]);
    assert_eq!(world.read("files/g"), "in sub");
}
