//! Pushes, pulls and caches with registries that ask for passwords and have
//! certificates of their own, through both engines; skopeo judges.

use base64::Engine as _;
use kiln_testkit::registry::{Protection, Registry, Transport};
use kiln_testkit::rootfs;
use rstest::rstest;
use serde_json::{Value, json};

use crate::daemon::{Daemon, Engine};
use crate::world::{Ran, World, assert_has, outcome, ran, text, tool};

/// A user with a registry and both engines, which know its certificate.
struct User {
    world: World,
    registry: Registry,
    daemon: Daemon,
}

/// Whether the engines know the registry's certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    Told,
    Unknown,
}

const USER: &str = "user:pass";

impl User {
    fn new(basic: bool, transport: Transport, trust: Trust) -> Self {
        let world = World::new();
        let basic = basic.then(|| ("user".into(), "pass".into()));
        let registry = Registry::start_protected(Protection { basic, transport }).unwrap();
        rootfs::busybox(world.path("base")).unwrap();
        registry.push_rootfs(world.path("base"), "base:v1").unwrap();
        let dockerfile = "FROM HOST/base:v1\nRUN echo made > /made\n";
        world.dockerfile(&dockerfile.replace("HOST", &registry.host()));
        std::fs::create_dir(world.path("hosts")).unwrap();
        if trust == Trust::Told {
            let url = registry.url();
            let settings = format!(
                "server = {url:?}\n[host.{url:?}]\nca = {:?}\n",
                text(&registry.ca())
            );
            world.write(&format!("hosts/{}/hosts.toml", registry.host()), settings);
        }
        Self {
            daemon: Daemon::configured(&world, "registryConfigPath = [\"hosts\"]\n"),
            world,
            registry,
        }
    }

    fn logs_in(&self, login: &str) {
        let auth = base64::engine::general_purpose::STANDARD.encode(login);
        let config = json!({"auths": {self.registry.host(): {"auth": auth}}});
        self.world.write("docker/config.json", config.to_string());
    }

    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.host())
    }

    fn builds(&self, engine: Engine, arguments: &[&str]) -> Ran {
        let mut command = match engine {
            Engine::Daemon => self.daemon.build_command(&self.world, arguments),
            Engine::Own => {
                let mut command = self.world.bare_command();
                command.args(["--root", "own", "--registry-config-path", "hosts"]);
                command.args(["build", "--progress=plain", "--frontend", "dockerfile.v0"]);
                command.args(["--local", "context=context"]);
                command.args(["--local", "dockerfile=context"]);
                command.args(arguments);
                command
            }
        };
        ran(command.output().unwrap())
    }

    fn must(&self, engine: Engine, arguments: &[&str]) -> String {
        let ran = self.builds(engine, arguments);
        assert!(ran.success, "{engine:?} {arguments:?}:\n{}", ran.stderr);
        ran.stderr
    }

    /// Removes all that an engine has.
    fn forgets(&self, engine: Engine) {
        let prune = ["prune", "--all"];
        let mut command = match engine {
            Engine::Daemon => self.daemon.command(&self.world, &prune),
            Engine::Own => {
                let mut command = self.world.bare_command();
                command.args(["--root", "own"]).args(prune);
                command
            }
        };
        let ran = ran(command.output().unwrap());
        assert!(ran.success, "{}", ran.stderr);
    }

    /// A manifest, as skopeo gets it.
    fn manifest(&self, name: &str) -> Value {
        let image = format!("docker://{}", self.name(name));
        let arguments = ["inspect", "--raw", "--tls-verify=false", "--creds", USER];
        let manifest = tool("skopeo", &[&arguments[..], &[image.as_str()]].concat());
        serde_json::from_str(&manifest).unwrap()
    }
}

#[rstest]
#[case::open(false, Transport::Http)]
#[case::passwords(true, Transport::Http)]
#[case::certificates(false, Transport::Https)]
#[case::both(true, Transport::Https)]
fn images_and_caches_come_and_go(#[case] basic: bool, #[case] transport: Transport) {
    let trust = match transport {
        Transport::Http => Trust::Unknown,
        Transport::Https => Trust::Told,
    };
    let user = User::new(basic, transport, trust);
    if basic {
        user.logs_in(USER);
    }
    for engine in Engine::BOTH {
        let names = [format!("{engine:?}/app:1"), format!("{engine:?}/copy:1")]
            .map(|name| name.to_lowercase());
        let [app, copy] = names.each_ref().map(|name| user.name(name));
        let cache = format!("type=registry,ref={app}-cache");
        user.must(
            engine,
            &[
                "--output",
                &format!("type=image,\"name={app},{copy}\",push=true"),
                "--export-cache",
                &format!("{cache},mode=max"),
            ],
        );
        let manifest = user.manifest(&names[0]);
        assert_eq!(manifest, user.manifest(&names[1]));
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);

        user.forgets(engine);
        let progress = user.must(engine, &["--import-cache", &cache]);
        assert_eq!(outcome(&progress, "RUN echo"), "CACHED", "{progress}");
    }
}

#[rstest]
#[case::no_password(None)]
#[case::a_wrong_password(Some("user:wrong"))]
fn who_may_not_come_in_is_told(#[case] login: Option<&str>) {
    let user = User::new(true, Transport::Http, Trust::Unknown);
    if let Some(login) = login {
        user.logs_in(login);
    }
    for engine in Engine::BOTH {
        let ran = user.builds(engine, &[]);
        assert!(!ran.success, "{engine:?}");
        assert_has(&ran.stderr, &user.name("base:v1"));
        assert_has(&ran.stderr, "401 Unauthorized");
        assert!(!ran.stderr.contains("wrong"), "{}", ran.stderr);
    }
}

#[test]
fn who_speaks_https_must_be_announced() {
    let user = User::new(false, Transport::Https, Trust::Unknown);
    for engine in Engine::BOTH {
        let ran = user.builds(engine, &[]);
        assert!(!ran.success, "{engine:?}");
        // Registries on loopback are asked over plain HTTP unless more is known.
        assert_has(&ran.stderr, "400 Bad Request");
        assert_has(&ran.stderr, "which certificate to trust");
    }
}
