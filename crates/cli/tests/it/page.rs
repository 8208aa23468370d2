//! The commands of BuildKit's page on outputs, as they stand there. What a
//! reader fills in is filled in: `...` becomes a frontend and directories, the
//! name of a user's registry that of one on loopback.

use std::os::unix::fs::symlink;
use std::process::Command;

use kiln_testkit::docker::{self, Docker, ImageStore};
use kiln_testkit::registry::Registry;

use crate::daemon::Daemon;
use crate::world::{Ran, World, ran, tool};

/// A reader at a shell, with `buildctl` and `docker` at hand.
struct Reader {
    world: World,
    registry: Registry,
    daemon: Daemon,
    docker: Option<Docker>,
}

/// Which engine a command uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    /// The one in the client's process.
    Own,
    Daemon,
}

const ENGINES: [Engine; 2] = [Engine::Own, Engine::Daemon];

impl Reader {
    fn start() -> Self {
        let world = World::with_busybox();
        world.on_busybox(
            "FROM busybox AS builder\n\
             RUN mkdir -p /usr/src/app && echo passed > /usr/src/app/testresult.xml\n\
             FROM scratch as testresult\n\
             COPY --from=builder /usr/src/app/testresult.xml .\n\
             FROM busybox\n\
             RUN echo made > /made\nCMD [\"cat\", \"/made\"]\n",
        );
        std::fs::create_dir_all(world.path("bin")).unwrap();
        let programs = [
            ("buildctl", env!("CARGO_BIN_EXE_buildctl").into()),
            ("docker", docker::client()),
        ];
        for (name, program) in programs {
            symlink(program, world.path("bin").join(name)).unwrap();
        }
        let daemon = Daemon::start(&world);
        Self {
            world,
            registry: Registry::start().unwrap(),
            daemon,
            docker: None,
        }
    }

    /// Runs a command of the page.
    fn types(&self, engine: Engine, command: &str) -> Ran {
        let user = format!("{}/username", self.registry.host());
        let own = match engine {
            Engine::Own => "buildctl --root own build",
            Engine::Daemon => "buildctl build",
        };
        let what = " --frontend dockerfile.v0 --local context=context --local dockerfile=context";
        let line = command
            .replace("buildctl build", own)
            .replace(" ...", what)
            .replace("docker.io/username", &user);
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell
            .current_dir(self.world.path("."))
            .args(["-e", "-c", &line])
            .env(
                "PATH",
                format!("{}:{path}", self.world.path("bin").display()),
            )
            .env("DOCKER_CONFIG", self.world.path("docker"))
            .env_remove("BUILDKIT_HOST")
            .env_remove("SOURCE_DATE_EPOCH");
        if let Some(docker) = &self.docker {
            shell.env("DOCKER_HOST", docker.address());
        }
        if engine == Engine::Daemon {
            shell.env("BUILDKIT_HOST", &self.daemon.address);
        }
        ran(shell.output().unwrap())
    }

    /// The same; it must work.
    fn must(&self, engine: Engine, command: &str) -> Ran {
        let ran = self.types(engine, command);
        assert!(ran.success, "{engine:?}: {command}:\n{}", ran.stderr);
        ran
    }

    fn path(&self, relative: &str) -> String {
        self.world.path(relative).display().to_string()
    }
}

#[test]
fn images_are_pushed_with_their_cache() {
    let reader = Reader::start();
    let image = format!("docker://{}/username/image", reader.registry.host());
    for engine in ENGINES {
        reader.must(
            engine,
            "buildctl build ... --output type=image,name=docker.io/username/image,push=true",
        );
        let config = tool(
            "skopeo",
            &["inspect", "--tls-verify=false", "--config", "--raw", &image],
        );
        assert!(!config.contains("moby.buildkit.cache.v0"), "{config}");
        for _ in 0..2 {
            let ran = reader.must(
                engine,
                "buildctl build ...\\\n  --output type=image,name=docker.io/username/image,push=true \\\n  \
                 --export-cache type=inline \\\n  \
                 --import-cache type=registry,ref=docker.io/username/image",
            );
            assert!(
                ran.stderr.contains("importing cache manifest"),
                "{}",
                ran.stderr
            );
        }
        let config = tool(
            "skopeo",
            &["inspect", "--tls-verify=false", "--config", "--raw", &image],
        );
        assert!(config.contains("moby.buildkit.cache.v0"), "{config}");
    }
}

#[test]
fn files_go_to_directories_and_archives() {
    let reader = Reader::start();
    for engine in ENGINES {
        for command in [
            "buildctl build ... --output type=local,dest=path/to/output-dir",
            "buildctl build ... --opt target=testresult --output type=local,dest=path/to/output-dir",
            "buildctl build ... --output type=tar,dest=out.tar",
            "buildctl build ... --output type=tar > piped.tar",
        ] {
            reader.must(engine, command);
        }
        assert_eq!(
            reader.world.read("path/to/output-dir/testresult.xml"),
            "passed\n"
        );
        assert_eq!(reader.world.read("path/to/output-dir/made"), "made\n");
        for archive in ["out.tar", "piped.tar"] {
            let listing = tool("tar", &["-tf", &reader.path(archive)]);
            assert!(listing.lines().any(|line| line == "made"), "{listing}");
            std::fs::remove_file(reader.world.path(archive)).unwrap();
        }
        std::fs::remove_dir_all(reader.world.path("path")).unwrap();
    }
}

#[test]
fn an_image_is_loaded_into_docker() {
    let mut reader = Reader::start();
    let docker = reader
        .docker
        .insert(Docker::start(ImageStore::Graph).unwrap());
    let (mut run, mut remove) = (docker.command(), docker.command());
    run.args(["run", "--rm", "--network=none", "myimage"]);
    remove.args(["rmi", "myimage"]);
    for engine in ENGINES {
        let ran = reader.must(
            engine,
            "buildctl build ... --output type=docker,name=myimage | docker load",
        );
        assert!(
            ran.stdout.contains("Loaded image: myimage:latest"),
            "{}",
            ran.stdout
        );
        let ran = crate::world::ran(run.output().unwrap());
        assert_eq!(ran.stdout, "made\n", "{}", ran.stderr);
        assert!(remove.output().unwrap().status.success());
    }
}

#[test]
fn an_image_becomes_an_archive() {
    let reader = Reader::start();
    std::fs::create_dir_all(reader.world.path("path/to")).unwrap();
    for engine in ENGINES {
        for command in [
            "buildctl build ... --output type=oci,dest=path/to/output.tar",
            "buildctl build ... --output type=oci > output.tar",
        ] {
            reader.must(engine, command);
        }
        for archive in ["path/to/output.tar", "output.tar"] {
            let archive = format!("oci-archive:{}", reader.path(archive));
            let config = tool("skopeo", &["inspect", "--config", &archive]);
            assert!(config.contains("/made"), "{config}");
        }
    }
}
