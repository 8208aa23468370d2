//! Layers that vanish after their cache was read: what needs them is built, with a warning.

use std::path::{Path, PathBuf};

use kiln_testkit::registry::Registry;
use kiln_testkit::web_cache::WebCache;

use crate::world::{World, assert_has, outcome, text, tool};

const LOCAL: &[&str] = &["--output", "type=local,dest=out"];

fn world() -> World {
    let world = World::with_busybox();
    world.on_busybox(
        "FROM busybox AS result\nCOPY src /src\nRUN cat /src/a.txt > /result\n\
         FROM busybox AS other\nRUN echo other > /other\n\
         FROM scratch\nCOPY --from=result /result /\nCOPY --from=other /other /\n",
    );
    world.write("context/src/a.txt", "one\n");
    world
}

/// Builds and exports, and then takes the store away, as on a new machine.
fn exported(cache: &str) -> World {
    let world = world();
    world.must_build(&["--export-cache", &format!("{cache},mode=max")]);
    std::fs::rename(world.path("root"), world.path("old-root")).unwrap();
    world
}

/// What becomes of a blob.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Removed,
    Truncated,
    Replaced,
}

impl Damage {
    fn of(self, blob: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Removed => None,
            Self::Truncated => Some(blob[..blob.len() / 2].to_vec()),
            Self::Replaced => Some(vec![b'x'; blob.len()]),
        }
    }

    fn of_file(self, path: &Path) {
        match self.of(&std::fs::read(path).unwrap()) {
            Some(bytes) => std::fs::write(path, bytes).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
    }
}

/// Whether a layer has a file of this name.
fn has_file(world: &World, blob: &[u8], name: &str) -> bool {
    world.write("layer.tgz", blob);
    let names = tool("tar", &["tzf", text(&world.path("layer.tgz"))]);
    names.lines().any(|line| line == name)
}

/// A cache on a web server, of which layers with a file of this name are damaged.
fn damaged(world: &World, server: &WebCache, name: &str, damage: Damage) {
    let mut count = 0;
    for (path, blob) in server.objects().iter_mut() {
        if path.starts_with("/cas/") && has_file(world, blob, name) {
            // Without content it is not found.
            *blob = damage.of(blob).unwrap_or_default();
            count += 1;
        }
    }
    assert!(count > 0, "no layer has {name}");
    server.objects().retain(|_, blob| !blob.is_empty());
}

fn web_cache() -> (WebCache, String) {
    let server = WebCache::start(None).unwrap();
    let cache = format!("type=http,url=http://{}", server.host());
    (server, cache)
}

#[test]
fn what_an_output_misses_is_built_and_nothing_else() {
    for damage in [Damage::Removed, Damage::Truncated, Damage::Replaced] {
        let (server, cache) = web_cache();
        let world = exported(&cache);
        damaged(&world, &server, "result", damage);
        let arguments = [&["--import-cache", &cache], LOCAL].concat();
        let progress = world.must_build(&arguments);
        assert_has(&progress, "WARN");
        assert_has(&progress, " lacks sha256:");
        assert_eq!(outcome(&progress, "RUN cat"), "DONE", "{progress}");
        assert_eq!(outcome(&progress, "RUN echo other"), "CACHED", "{progress}");
        assert_eq!(world.read("out/result"), "one\n");
        assert_eq!(world.read("out/other"), "other\n");
        let explained = world.run(&["explain"]).stdout;
        assert_has(&explained, "its cached result could not be loaded");
        // What was built then is there now.
        let progress = world.must_build(&arguments);
        assert_eq!(outcome(&progress, "RUN cat"), "CACHED", "{damage:?}");
        assert!(!progress.contains("lacks"), "{progress}");
    }
}

#[test]
fn what_a_step_misses_is_built() {
    let (server, cache) = web_cache();
    let world = exported(&cache);
    damaged(&world, &server, "bin/busybox", Damage::Removed);
    // Everything up to here is in the cache, and the root filesystem of the step is not.
    world.on_busybox("COPY src /src\nRUN cat /src/a.txt > /result\nRUN cat /result > /again\n");
    let arguments = [&["--import-cache", &cache], LOCAL].concat();
    let progress = world.must_build(&arguments);
    assert_has(&progress, " lacks sha256:");
    assert_eq!(outcome(&progress, "COPY rootfs"), "DONE", "{progress}");
    assert_eq!(world.read("out/again"), "one\n");
}

#[test]
fn a_cache_that_lost_everything_is_an_empty_one() {
    let (server, cache) = web_cache();
    let world = exported(&cache);
    server
        .objects()
        .retain(|path, _| !path.starts_with("/cas/"));
    world.must_build(&[
        "--import-cache",
        &cache,
        "--output",
        "type=oci,dest=image.tar",
    ]);
    let archive = format!("oci-archive:{}", text(&world.path("image.tar")));
    let image = tool("skopeo", &["inspect", &archive]);
    assert_has(&image, "\"Layers\": [");
}

#[test]
fn an_image_that_is_pushed_lacks_nothing() {
    let (server, cache) = web_cache();
    let registry = Registry::start().unwrap();
    let world = exported(&cache);
    damaged(&world, &server, "other", Damage::Removed);
    let name = format!("{}/app:1", registry.host());
    let output = format!("type=image,name={name},push=true");
    let progress = world.must_build(&["--import-cache", &cache, "--output", &output]);
    assert_has(&progress, " lacks sha256:");
    let copied = format!("dir:{}", text(&world.path("copied")));
    let source = format!("docker://{name}");
    tool(
        "skopeo",
        &["copy", "--src-tls-verify=false", &source, &copied],
    );
}

#[test]
fn a_cache_is_exported_without_what_another_one_lost() {
    let (server, cache) = web_cache();
    let world = exported(&cache);
    damaged(&world, &server, "result", Damage::Removed);
    let progress = world.must_build(&[
        "--import-cache",
        &cache,
        "--export-cache",
        "type=local,dest=second,mode=max",
    ]);
    assert_has(&progress, " lacks sha256:");
    std::fs::rename(world.path("root"), world.path("second-root")).unwrap();
    let arguments = [&["--import-cache", "type=local,src=second"], LOCAL].concat();
    let progress = world.must_build(&arguments);
    assert_eq!(outcome(&progress, "RUN echo other"), "CACHED", "{progress}");
    assert_eq!(world.read("out/result"), "one\n");
}

/// The largest file below a directory.
fn largest(dir: &Path) -> PathBuf {
    let files = tool("find", &[text(dir), "-type", "f", "-printf", "%s %p\n"]);
    let files = files.lines().filter_map(|line| line.split_once(' '));
    let largest = files.max_by_key(|(size, _)| size.parse::<u64>().unwrap());
    PathBuf::from(largest.unwrap().1)
}

#[test]
fn directories_that_a_user_edits() {
    for damage in [Damage::Removed, Damage::Truncated, Damage::Replaced] {
        let world = exported("type=local,dest=cache");
        damage.of_file(&largest(&world.path("cache/blobs/sha256")));
        world.on_busybox("RUN echo new > /new\n");
        let arguments = [&["--import-cache", "type=local,src=cache"], LOCAL].concat();
        let progress = world.must_build(&arguments);
        assert_eq!(outcome(&progress, "COPY rootfs"), "DONE", "{damage:?}");
        assert_eq!(world.read("out/new"), "new\n");
    }
}

#[test]
fn registries_that_lose_blobs() {
    let registry = Registry::start().unwrap();
    let cache = format!("type=registry,ref={}/cache:1", registry.host());
    let world = exported(&cache);
    Damage::Removed.of_file(&largest(&registry.storage()));
    world.on_busybox("RUN echo new > /new\n");
    let arguments = [&["--import-cache", cache.as_str()], LOCAL].concat();
    let progress = world.must_build(&arguments);
    assert_has(&progress, " lacks sha256:");
    assert_eq!(world.read("out/new"), "new\n");
}
