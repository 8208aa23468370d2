//! Base images from registries and OCI layouts.

use base64::Engine as _;
use kiln_testkit::image::Image;
use kiln_testkit::registry::{Protection, Registry};
use kiln_testkit::rootfs;
use serde_json::json;

use crate::world::{World, assert_has, outcome};

#[test]
fn images_are_pulled_by_tag_and_digest() {
    let world = World::new();
    let registry = Registry::start().unwrap();
    rootfs::busybox(world.path("base")).unwrap();
    let image = Image::new()
        .layer(world.path("base"))
        .config("Env", json!(["FROM_BASE=yes"]));
    let pushed = registry.push_image(&image, "base:v1").unwrap();
    let build = |reference: &str| {
        world.dockerfile(&format!("FROM {reference}\nRUN echo $FROM_BASE > /out\n"));
        world.must_build(&["--output", "type=local,dest=files"])
    };
    let by_tag = format!("{}/base:v1", registry.host());
    let progress = build(&by_tag);
    assert_has(&progress, &format!("[internal] load metadata for {by_tag}"));
    assert_eq!(world.read("files/out"), "yes\n");
    let progress = build(&format!("{}/base@{}", registry.host(), pushed.digest));
    assert_eq!(outcome(&progress, "RUN echo"), "CACHED");
}

#[test]
fn private_registries_get_the_users_credentials() {
    let world = World::new();
    let protection = Protection {
        basic: Some(("user".into(), "pass".into())),
        ..Protection::default()
    };
    let registry = Registry::start_protected(protection).unwrap();
    rootfs::busybox(world.path("base")).unwrap();
    registry.push_rootfs(world.path("base"), "base:v1").unwrap();
    world.dockerfile(&format!("FROM {}/base:v1\nRUN true\n", registry.host()));
    let error = world.must_fail(&[]);
    assert_has(&error, "401");
    let auth = base64::engine::general_purpose::STANDARD.encode("user:pass");
    world.write(
        "docker/config.json",
        json!({"auths": {registry.host(): {"auth": auth}}}).to_string(),
    );
    world.must_build(&[]);
}

#[test]
fn missing_images_are_named() {
    let world = World::new();
    let registry = Registry::start().unwrap();
    let name = format!("{}/nothing:v9", registry.host());
    world.dockerfile(&format!("FROM {name}\n"));
    let error = world.must_fail(&[]);
    assert_has(&error, &format!("{name}: not found"));
    assert_has(&error, "Dockerfile:1");
}

#[test]
fn layouts_and_directories_are_named_contexts() {
    let world = World::new();
    rootfs::busybox(world.path("base")).unwrap();
    let pushed = Image::new()
        .layer(world.path("base"))
        .write(world.path("layout"), "v1")
        .unwrap();
    world.write("other/f", "from other");
    world.dockerfile("FROM base\nCOPY --from=other f /f\nRUN cat /f > /out\n");
    world.must_build(&[
        "--oci-layout",
        "store=layout",
        "--opt",
        &format!("context:base=oci-layout://store@{}", pushed.digest),
        "--local",
        "other=other",
        "--opt",
        "context:other=local:other",
        "--output",
        "type=local,dest=files",
    ]);
    assert_eq!(world.read("files/out"), "from other");
}

#[test]
fn onbuild_triggers_run() {
    let world = World::new();
    let registry = Registry::start().unwrap();
    rootfs::busybox(world.path("base")).unwrap();
    let image = Image::new()
        .layer(world.path("base"))
        .config("OnBuild", json!(["RUN echo triggered > /out"]));
    registry.push_image(&image, "base:v1").unwrap();
    world.dockerfile(&format!("FROM {}/base:v1\n", registry.host()));
    world.must_build(&["--output", "type=local,dest=files"]);
    assert_eq!(world.read("files/out"), "triggered\n");
}

#[test]
fn a_wrong_digest_is_refused() {
    let world = World::new();
    let registry = Registry::start().unwrap();
    rootfs::busybox(world.path("base")).unwrap();
    registry.push_rootfs(world.path("base"), "base:v1").unwrap();
    damage_layer(&registry);
    world.dockerfile(&format!("FROM {}/base:v1\nRUN true\n", registry.host()));
    let error = world.must_fail(&[]);
    assert_has(&error, "digest");
}

/// Changes one byte in the middle of the largest blob.
fn damage_layer(registry: &Registry) {
    let mut blobs = Vec::new();
    let mut open = vec![registry.storage()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => open.push(entry.path()),
                false => blobs.push((entry.metadata().unwrap().len(), entry.path())),
            }
        }
    }
    let (_, path) = blobs.into_iter().max().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(path, bytes).unwrap();
}
