//! Caches that BuildKit writes are hit here, and ours there: every step of each
//! Dockerfile in `tests/exchange`, with nothing but the exported cache.
//!
//! The BuildKit in dockerd is older than the one whose keys ours are
//! (`golden.rs`). What has changed since is left out: patterns in `COPY`.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_testkit::docker::{Docker, ImageStore};
use kiln_testkit::tools;
use rstest::rstest;

use crate::world::{Ran, World, ran, text, tool};

/// The Dockerfiles are dealt to so many tests, which run side by side.
const HANDS: usize = 4;

/// A context for all Dockerfiles, our engine, and BuildKit in a dockerd.
struct Exchange {
    world: World,
    docker: Docker,
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Ours,
    Theirs,
}

/// Where a cache goes to or comes from.
#[derive(Clone, Copy)]
enum Cache {
    Export,
    Import,
}

impl Exchange {
    fn start() -> Self {
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
        Self {
            world,
            docker: Docker::start(ImageStore::Containerd).unwrap(),
        }
    }

    fn build(&self, side: Side, dockerfile: &Path, (cache, dir): (Cache, &str)) -> Ran {
        let mut command = match side {
            Side::Ours => self.ours(dockerfile, cache, dir),
            Side::Theirs => self.theirs(dockerfile, cache, dir),
        };
        let ran = ran(command.output().unwrap());
        let name = dockerfile.display();
        assert!(ran.success, "{side:?} {name}: {}", ran.stderr);
        ran
    }

    fn ours(&self, dockerfile: &Path, cache: Cache, dir: &str) -> Command {
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
        match cache {
            Cache::Export => {
                command.args(["--export-cache", &format!("type=local,mode=max,dest={dir}")])
            }
            Cache::Import => command.args(["--import-cache", &format!("type=local,src={dir}")]),
        };
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

    fn theirs(&self, dockerfile: &Path, cache: Cache, dir: &str) -> Command {
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
        match cache {
            Cache::Export => {
                command.args(["--cache-to", &format!("type=local,mode=max,dest={dir}")])
            }
            Cache::Import => command.args(["--cache-from", &format!("type=local,src={dir}")]),
        };
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
    fn exchange(&self, from: Side, to: Side, dockerfile: &Path) -> BTreeMap<String, bool> {
        let name = dockerfile.file_stem().unwrap().to_str().unwrap();
        let dir = format!("{name}-of-{from:?}");
        self.build(from, dockerfile, (Cache::Export, &dir));
        self.forget(from);
        self.forget(to);
        let ran = self.build(to, dockerfile, (Cache::Import, &dir));
        let steps = steps(&ran.stderr);
        assert!(!steps.is_empty(), "{to:?} {name}:\n{}", ran.stderr);
        steps
    }
}

fn cases() -> PathBuf {
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
    for entry in dockerfiles.into_iter().skip(hand).step_by(HANDS) {
        let dockerfile = entry.unwrap().path();
        for (from, to) in [(Side::Theirs, Side::Ours), (Side::Ours, Side::Theirs)] {
            let steps = exchange.exchange(from, to, &dockerfile);
            let hits = steps.values().filter(|is_hit| **is_hit).count();
            let name = dockerfile.file_stem().unwrap().to_string_lossy();
            println!(
                "{name}: {from:?} to {to:?}: {hits} of {} steps are hits",
                steps.len()
            );
            let missed = steps.into_iter().filter(|(_, is_hit)| !is_hit);
            misses.extend(missed.map(|(step, _)| format!("{name}, {to:?}: {step}")));
        }
    }
    assert!(misses.is_empty(), "no hits:\n{}", misses.join("\n"));
}
