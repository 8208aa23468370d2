//! Caches that BuildKit writes are hit here, and ours there: every step of each
//! Dockerfile in `tests/exchange`, with nothing but the exported cache, which is
//! in a directory or in a registry.
//!
//! The BuildKit in dockerd is older than the one whose keys ours are
//! (`golden.rs`). What has changed since is left out: patterns in `COPY`.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_testkit::docker::{Docker, ImageStore};
use kiln_testkit::registry::Registry;
use kiln_testkit::tools;
use rstest::rstest;

use crate::world::{Ran, World, ran, text, tool};

/// The Dockerfiles are dealt to so many tests, which run side by side.
const HANDS: usize = 4;

/// Dockerfiles whose name begins so are built for these platforms.
const SEVERAL_PLATFORMS: (&str, &str) = ("platforms-", "linux/amd64,linux/arm64");

/// A context for all Dockerfiles, our engine, and BuildKit in a dockerd.
struct Exchange {
    world: World,
    docker: Docker,
    registry: Registry,
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Ours,
    Theirs,
}

/// What a build does with its cache; the values are those of the options.
enum Cache {
    Export(String),
    Import(String),
}

/// Where the cache is between the two engines.
#[derive(Clone, Copy, Debug)]
enum Place {
    Directory,
    Registry,
}

impl Exchange {
    fn start() -> Self {
        Self {
            world: context(),
            docker: Docker::start(ImageStore::Containerd).unwrap(),
            registry: Registry::start().unwrap(),
        }
    }

    fn build(&self, side: Side, dockerfile: &Path, cache: &Cache) -> Ran {
        let mut command = match side {
            Side::Ours => self.ours(dockerfile),
            Side::Theirs => self.theirs(dockerfile),
        };
        match (side, cache) {
            (Side::Ours, Cache::Export(place)) => command.arg(format!("--export-cache={place}")),
            (Side::Ours, Cache::Import(place)) => command.arg(format!("--import-cache={place}")),
            (Side::Theirs, Cache::Export(place)) => command.arg(format!("--cache-to={place}")),
            (Side::Theirs, Cache::Import(place)) => command.arg(format!("--cache-from={place}")),
        };
        let ran = ran(command.output().unwrap());
        let name = dockerfile.display();
        assert!(ran.success, "{side:?} {name}: {}", ran.stderr);
        ran
    }

    fn ours(&self, dockerfile: &Path) -> Command {
        let name = dockerfile.file_name().unwrap().to_str().unwrap();
        let mut command = self.world.bare_command();
        command.args(["--root", "own", "build", "--progress=plain"]);
        command.args(["--frontend", "dockerfile.v0", "--local", "context=context"]);
        command
            .arg("--local")
            .arg(format!("dockerfile={}", cases().display()));
        command.args(["--opt", &format!("filename={name}")]);
        command.args([
            "--opt",
            "force-network-mode=none",
            "--secret",
            "id=token,src=token",
        ]);
        if name.starts_with(SEVERAL_PLATFORMS.0) {
            command.args(["--opt", &format!("platform={}", SEVERAL_PLATFORMS.1)]);
        }
        command
    }

    fn buildx(&self) -> Command {
        let mut command = Command::new(tools::buildx());
        command
            .current_dir(self.world.path("."))
            .env("DOCKER_HOST", self.docker.address())
            .env("BUILDX_CONFIG", self.world.path("buildx"))
            .env("DOCKER_CONFIG", self.world.path("docker"))
            .env_remove("SOURCE_DATE_EPOCH");
        command
    }

    fn theirs(&self, dockerfile: &Path) -> Command {
        let mut command = self.buildx();
        command.args([
            "build",
            "--progress=plain",
            "--provenance=false",
            "--network=none",
        ]);
        command.args([
            "--secret",
            "id=token,src=token",
            "--output",
            "type=cacheonly",
        ]);
        command.arg("--file").arg(dockerfile);
        let name = dockerfile.file_name().unwrap().to_str().unwrap();
        if name.starts_with(SEVERAL_PLATFORMS.0) {
            command.args(["--platform", SEVERAL_PLATFORMS.1]);
        }
        command.arg("context");
        command
    }

    /// Leaves an engine with nothing.
    fn forget(&self, side: Side) {
        let mut command = match side {
            Side::Theirs => {
                let mut command = self.buildx();
                command.args(["prune", "--all", "--force"]);
                command
            }
            Side::Ours => {
                let mut command = self.world.bare_command();
                command.args(["--root", "own", "prune", "--all"]);
                command
            }
        };
        let ran = ran(command.output().unwrap());
        assert!(ran.success, "{side:?}: {}", ran.stderr);
    }

    /// What becomes of each step when one engine has nothing but the cache that
    /// the other has exported.
    fn exchange(
        &self,
        (from, to): (Side, Side),
        place: Place,
        dockerfile: &Path,
    ) -> BTreeMap<String, bool> {
        let name = dockerfile.file_stem().unwrap().to_str().unwrap();
        let name = format!("{name}-of-{from:?}");
        let (target, source) = match place {
            Place::Directory => (
                format!("type=local,dest={name}"),
                format!("type=local,src={name}"),
            ),
            Place::Registry => {
                let image = format!("{}/{}", self.registry.host(), name.to_lowercase());
                let entry = format!("type=registry,ref={image}");
                (entry.clone(), entry)
            }
        };
        let export = Cache::Export(format!("{target},mode=max"));
        self.build(from, dockerfile, &export);
        self.forget(from);
        self.forget(to);
        let ran = self.build(to, dockerfile, &Cache::Import(source));
        let steps = steps(&ran.stderr);
        assert!(!steps.is_empty(), "{to:?} {name}:\n{}", ran.stderr);
        if steps.values().any(|is_hit| !is_hit) {
            println!("{to:?} {name}:\n{}", ran.stderr);
        }
        steps
    }
}

/// What the Dockerfiles are built from.
pub(crate) fn context() -> World {
    let world = World::with_busybox();
    world.write("context/package.json", "{}\n");
    world.write("context/config.yaml", "a: 1\n");
    world.write("context/src/main.c", "int main;\n");
    world.write("context/src/make.h", "#define X\n");
    world.write("context/src/lib/deep/x.h", "#define Y\n");
    world.write("context/notes/kept.md", "kept\n");
    world.write("context/notes/dropped.log", "dropped\n");
    world.write("context/notes/sub/kept.log", "kept, too\n");
    world.write(
        "context/.dockerignore",
        "**/*.log\n!notes/sub/*.log\n*.Dockerfile\n",
    );
    world.write("context/links/target", "text\n");
    symlink("target", world.path("context/links/link")).unwrap();
    symlink("nowhere", world.path("context/links/broken")).unwrap();
    let mode = std::fs::Permissions::from_mode(0o751);
    std::fs::set_permissions(world.path("context/links/target"), mode).unwrap();
    let archive = world.path("context/files.tar.gz");
    let source = world.path("context");
    tool(
        "tar",
        &["-czf", text(&archive), "-C", text(&source), "src", "links"],
    );
    world.write("token", "very secret");
    world
}

pub(crate) fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exchange")
}

/// The steps of the Dockerfile in plain progress, and whether each was a hit.
fn steps(progress: &str) -> BTreeMap<String, bool> {
    let lines = progress
        .lines()
        .filter_map(|line| line.strip_prefix('#')?.split_once(' '));
    let lines: Vec<_> = lines.collect();
    let is_step = |name: &str| name.starts_with('[') && !name.starts_with("[internal]");
    let steps = lines.iter().filter(|(_, name)| is_step(name));
    let is_hit = |number: &str| lines.contains(&(number, "CACHED"));
    steps
        .map(|(number, name)| ((*name).to_owned(), is_hit(number)))
        .collect()
}

#[rstest]
#[case(0)]
#[case(1)]
#[case(2)]
#[case(3)]
fn every_step_is_a_hit_on_the_other_side(#[case] hand: usize) {
    let mut dockerfiles: Vec<_> = std::fs::read_dir(cases()).unwrap().collect();
    assert!(dockerfiles.len() >= 30);
    dockerfiles.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
    let exchange = Exchange::start();
    let mut misses = Vec::new();
    for (number, entry) in dockerfiles
        .into_iter()
        .enumerate()
        .skip(hand)
        .step_by(HANDS)
    {
        let dockerfile = entry.unwrap().path();
        let name = dockerfile.file_stem().unwrap().to_string_lossy();
        // The one way by a directory, the other by a registry; which is which alternates.
        let mut places = [Place::Directory, Place::Registry];
        places.rotate_left(number / HANDS % 2);
        let ways = [(Side::Theirs, Side::Ours), (Side::Ours, Side::Theirs)];
        for ((from, to), place) in ways.into_iter().zip(places) {
            let steps = exchange.exchange((from, to), place, &dockerfile);
            let hits = steps.values().filter(|is_hit| **is_hit).count();
            let all = steps.len();
            println!("{name}: {from:?} to {to:?} by {place:?}: {hits} of {all} steps are hits");
            let missed = steps.into_iter().filter(|(_, is_hit)| !is_hit);
            misses.extend(missed.map(|(step, _)| format!("{name}, {to:?}: {step}")));
        }
    }
    assert!(misses.is_empty(), "no hits:\n{}", misses.join("\n"));
}
