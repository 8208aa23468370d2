//! Cache mounts that survive the loss of a store, beside an exported cache.

use std::collections::BTreeMap;
use std::path::Path;

use kiln_testkit::faults::{FaultyProxy, Schedule};
use kiln_testkit::registry::Registry;
use kiln_testkit::rootfs;
use kiln_testkit::web_cache::WebCache;
use serde_json::Value;

use crate::daemon::Daemon;
use crate::world::{World, assert_has, text, tool};

const EXPORT: &str = "type=local,dest=cache,mode=max,mounts=true";
const IMPORT: &str = "type=local,src=cache";
const METADATA: &str = "metadata.json";

/// Fills a cache mount as a compiler might: many small files, a large one that cannot be compressed, and what tells
/// copies from originals.
const FILL: &str = "mkdir /c/d && for i in $(seq 300); do echo file $i > /c/d/$i; done \
    && head -c 6000000 /dev/urandom > /c/large && ln /c/large /c/hard && ln -s d/1 /c/link \
    && touch -d @1500000000 /c/d/7 && chmod 640 /c/d/8 && chown 5:6 /c/d/9 && echo seeded > /s/f";
/// All that can be seen of the mounts.
const LIST: &str = "cd / && { find c s -type f -exec sha256sum {} + | sort; \
    find c s | sort | xargs stat -c '%n %f %u %g %Y %h'; readlink c/link; } > /out";

fn world() -> World {
    World::with_busybox()
}

/// A build whose one step has two cache mounts, one of them with a seed.
fn dockerfile(world: &World, command: &str) {
    world.on_busybox(&format!(
        "RUN --mount=type=cache,target=/c --mount=type=cache,id=seeded,target=/s,uid=7,gid=8,mode=0711 {command}\n\
         FROM scratch\nCOPY --from=busybox /out /\n"
    ));
}

/// Builds with these arguments, and returns the progress and what the step has seen.
fn seen(world: &World, command: &str, arguments: &[&str]) -> (String, String) {
    dockerfile(world, command);
    let output = ["--output", "type=local,dest=files"];
    let progress = world.must_build(&[&output, arguments].concat());
    (progress, world.read("files/out"))
}

/// What a machine that knows nothing starts with.
fn forget(world: &World) {
    std::fs::remove_dir_all(world.path("root")).unwrap();
}

/// A number in what the last build told.
fn told(world: &World, key: &str) -> u64 {
    let metadata: Value = serde_json::from_str(&world.read(METADATA)).unwrap();
    metadata[key].as_str().unwrap().parse().unwrap()
}

/// Blobs of a layout directory with their sizes.
fn blobs(directory: &Path) -> BTreeMap<String, u64> {
    let entries = std::fs::read_dir(directory.join("blobs/sha256")).unwrap();
    let entries = entries.map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, entry.metadata().unwrap().len())
    });
    entries.collect()
}

/// The digest that a tag of a layout directory stands for.
fn tagged(directory: &Path, tag: &str) -> Option<String> {
    let index = std::fs::read(directory.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let mut entries = index["manifests"].as_array().unwrap().iter();
    let entry =
        entries.find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == tag);
    entry.map(|entry| entry["digest"].as_str().unwrap().to_owned())
}

#[test]
fn mounts_survive_the_loss_of_the_store() {
    let world = world();
    let (_, filled) = seen(
        &world,
        &format!("{FILL} && {LIST}"),
        &["--export-cache", EXPORT],
    );
    assert_has(&filled, "c/hard");
    let first = blobs(&world.path("cache"));

    forget(&world);
    let (progress, found) = seen(&world, LIST, &["--import-cache", IMPORT]);
    assert_eq!(found, filled);
    assert_has(&progress, "restoring cache mount /c");
    let (progress, found) = seen(
        &world,
        &format!("true && {LIST}"),
        &["--import-cache", IMPORT],
    );
    assert_eq!(found, filled);
    assert!(!progress.contains("restoring cache mount"), "{progress}");

    // Only what is new moves.
    let change = format!("echo changed > /c/d/100 && {LIST}");
    let arguments = ["--export-cache", EXPORT, "--metadata-file", METADATA];
    let (_, changed) = seen(&world, &change, &arguments);
    let added = blobs(&world.path("cache"))
        .into_iter()
        .filter(|(name, _)| !first.contains_key(name));
    let added: u64 = added.map(|(_, size)| size).sum();
    assert!((1..500_000).contains(&added), "{added} bytes");
    assert!((1..200_000).contains(&told(&world, "cache.mounts.written")));
    assert!(told(&world, "cache.mounts.size") > 6_000_000);

    // A build whose steps are all cached has no mounts here, and leaves those that were exported.
    let mounts = tagged(&world.path("cache"), "latest.mounts");
    forget(&world);
    let both = ["--import-cache", IMPORT, "--export-cache", EXPORT];
    let (progress, _) = seen(&world, &change, &both);
    assert!(!progress.contains("restoring cache mount"), "{progress}");
    assert_eq!(tagged(&world.path("cache"), "latest.mounts"), mounts);
    let (_, found) = seen(&world, LIST, &["--import-cache", IMPORT]);
    assert_eq!(found, changed);
}

#[test]
fn the_cache_itself_does_not_change() {
    let world = world();
    let command = format!("{FILL} && {LIST}");
    seen(&world, &command, &["--export-cache", EXPORT]);
    seen(
        &world,
        &command,
        &["--export-cache", "type=local,dest=plain,mode=max"],
    );
    let (with, without) = (world.path("cache"), world.path("plain"));
    assert_eq!(tagged(&with, "latest"), tagged(&without, "latest"));
    assert_eq!(tagged(&without, "latest.mounts"), None);
    let inspect = |tag: &str| {
        let image = format!("oci:{}:{tag}", text(&with));
        let manifest = tool("skopeo", &["inspect", "--raw", &image]);
        serde_json::from_str::<Value>(&manifest).unwrap()
    };
    let config = &inspect("latest")["config"]["mediaType"];
    assert_eq!(config, "application/vnd.buildkit.cacheconfig.v0");
    let mounts = inspect("latest.mounts");
    assert_eq!(
        mounts["artifactType"],
        "application/vnd.kiln.cache-mounts.v0"
    );
    let listed = mounts["layers"].as_array().unwrap().iter();
    for blob in listed.chain([&mounts["config"]]) {
        let digest = blob["digest"].as_str().unwrap().replacen(':', "/", 1);
        let sum = tool("sha256sum", &[text(&with.join("blobs").join(&digest))]);
        assert!(digest.ends_with(sum.split(' ').next().unwrap()), "{blob}");
    }
}

#[test]
fn mounts_that_are_not_wanted_or_damaged_start_empty() {
    let world = world();
    seen(
        &world,
        &format!("{FILL} && {LIST}"),
        &["--export-cache", EXPORT],
    );
    let empty = "ls /c > /out";
    forget(&world);
    let (_, found) = seen(
        &world,
        empty,
        &["--import-cache", "type=local,src=cache,mounts=false"],
    );
    assert_eq!(found, "");

    forget(&world);
    for (name, size) in blobs(&world.path("cache")) {
        if size > 6_000_000 {
            let pack = world.path("cache/blobs/sha256").join(name);
            let mut bytes = std::fs::read(&pack).unwrap();
            bytes[3_000_000] ^= 1;
            std::fs::remove_file(&pack).unwrap();
            std::fs::write(&pack, bytes).unwrap();
        }
    }
    let (progress, found) = seen(&world, empty, &["--import-cache", IMPORT]);
    assert_eq!(found, "", "{progress}");
    assert_has(
        &progress,
        "cache mount /c starts without what was exported of it",
    );

    // Asked for by name, mounts that are not there are told of.
    forget(&world);
    seen(
        &world,
        empty,
        &["--export-cache", "type=local,dest=plain,mode=max"],
    );
    forget(&world);
    let wanted = ["--import-cache", "type=local,src=plain,mounts=true"];
    let (progress, _) = seen(&world, "ls -a /c > /out", &wanted);
    assert_has(&progress, "export them with mounts=true");
    let refused = world.must_fail(&["--export-cache", "type=inline,mounts=true"]);
    assert_has(&refused, "mounts");
}

#[test]
fn mounts_go_through_registries() {
    let world = world();
    let registry = Registry::start().unwrap();
    let name = format!("{}/team/cache:v1", registry.host());
    let export = format!("type=registry,ref={name},mode=max,mounts=true");
    let import = format!("type=registry,ref={name}");
    let (_, filled) = seen(
        &world,
        &format!("{FILL} && {LIST}"),
        &["--export-cache", &export],
    );
    let image = format!("docker://{name}.mounts");
    let manifest = tool(
        "skopeo",
        &["inspect", "--raw", "--tls-verify=false", &image],
    );
    assert_has(&manifest, "application/vnd.kiln.cache-mounts.v0");

    forget(&world);
    let (_, found) = seen(&world, LIST, &["--import-cache", &import]);
    assert_eq!(found, filled);
    let change = format!("echo changed > /c/d/100 && {LIST}");
    let metadata = ["--export-cache", &export, "--metadata-file", METADATA];
    let (_, changed) = seen(&world, &change, &metadata);
    let written = told(&world, "cache.mounts.written");
    assert!((1..200_000).contains(&written), "{written}");
    forget(&world);
    let (_, found) = seen(&world, LIST, &["--import-cache", &import]);
    assert_eq!(found, changed);
}

#[test]
fn mounts_go_through_stores_that_fail_at_times() {
    let world = world();
    let server = WebCache::start(None).unwrap();
    let schedule = Schedule { one_in: 5, seed: 3 };
    let proxy = FaultyProxy::start_honest(&server.host(), schedule).unwrap();
    let import = format!("type=http,url=http://{}/x", proxy.host());
    let export = format!("{import},mode=max,mounts=true");
    let (_, filled) = seen(
        &world,
        &format!("{FILL} && {LIST}"),
        &["--export-cache", &export],
    );
    forget(&world);
    let (_, found) = seen(&world, LIST, &["--import-cache", &import]);
    assert_eq!(found, filled);
    let change = format!("echo changed > /c/d/100 && {LIST}");
    let arguments = ["--export-cache", &export, "--metadata-file", METADATA];
    let (_, changed) = seen(&world, &change, &arguments);
    let written = told(&world, "cache.mounts.written");
    assert!((1..200_000).contains(&written), "{written}");
    forget(&world);
    let (_, found) = seen(&world, LIST, &["--import-cache", &import]);
    assert_eq!(found, changed);
}

/// The data stands for what a build downloads: it is got once.
const MAKEFILE: &str = "VPATH = /src\nprogram: main.o one.o two.o three.o data\n\tgcc -static -o $@ $(filter %.o,$^)\n\
    %.o: %.c\n\tgcc -c -O1 -o $@ $<\ndata:\n\thead -c 3000000 /dev/urandom > $@\n";

/// Sources of a program that prints three numbers.
fn sources(world: &World) {
    world.write("context/src/Makefile", MAKEFILE);
    world.write(
        "context/src/main.c",
        "int printf(const char *, ...);\nint one(void), two(void), three(void);\n\
         int main(void) { return printf(\"%d %d %d\\n\", one(), two(), three()) < 0; }\n",
    );
    for (number, name) in (1..).zip(["one", "two", "three"]) {
        let text = format!("int {name}(void) {{ return {number}; }}\n");
        world.write(&format!("context/src/{name}.c"), text);
    }
}

/// Builds the program; what it prints, and how many sources were compiled for it.
fn made(world: &World, arguments: &[&str]) -> (String, usize) {
    let output = ["--output", "type=local,dest=files"];
    let progress = world.must_build(&[&output, arguments].concat());
    let program = world.path("files/program");
    let is_compiled = |line: &&str| line.contains(" gcc -c ");
    (
        tool(text(&program), &[]),
        progress.lines().filter(is_compiled).count(),
    )
}

#[test]
fn a_new_machine_compiles_only_what_changed() {
    let world = world();
    rootfs::c_compiler(world.path("context/compiler")).unwrap();
    sources(&world);
    world.on_busybox(
        "COPY compiler /\nCOPY src /src\n\
         RUN --mount=type=cache,target=/obj make -C /obj -f /src/Makefile && cp /obj/program /program\n\
         FROM scratch\nCOPY --from=busybox /program /\n",
    );
    let export = ["--export-cache", EXPORT, "--metadata-file", METADATA];
    assert_eq!(made(&world, &export), ("1 2 3\n".into(), 4));
    let first = told(&world, "cache.mounts.written");

    forget(&world);
    world.write("context/src/two.c", "int two(void) { return 22; }\n");
    let both = [&["--import-cache", IMPORT], &export[..]].concat();
    assert_eq!(made(&world, &both), ("1 22 3\n".into(), 1));
    let second = told(&world, "cache.mounts.written");
    assert!(second < first / 2, "{second} of {first}");

    // Without the mounts, all is compiled again.
    forget(&world);
    world.write("context/src/two.c", "int two(void) { return 222; }\n");
    let without = ["--import-cache", "type=local,src=cache,mounts=false"];
    assert_eq!(made(&world, &without), ("1 222 3\n".into(), 4));
}

#[test]
fn mounts_go_through_daemons() {
    let world = world();
    let output = ["--output", "type=local,dest=files"];
    dockerfile(&world, &format!("{FILL} && {LIST}"));
    {
        let daemon = Daemon::with(&world, &["--root", "first"]);
        daemon.must_build(&world, &[&output, &["--export-cache", EXPORT][..]].concat());
    }
    let filled = world.read("files/out");
    let daemon = Daemon::with(&world, &["--root", "second"]);
    dockerfile(&world, LIST);
    daemon.must_build(&world, &[&output, &["--import-cache", IMPORT][..]].concat());
    assert_eq!(world.read("files/out"), filled);
}
