//! The fixtures work with the tools they are made for.
#![allow(clippy::unwrap_used, reason = "also in what tests share")]

use std::fs;
use std::process::Command;

use kiln_testkit::image::{Compression, Image, write_index};
use kiln_testkit::registry::{Protection, Registry, Transport};
use kiln_testkit::rootfs;

fn skopeo(arguments: &[&str]) -> String {
    let output = Command::new("skopeo").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_pushed_rootfs_can_be_inspected() {
    let dir = tempfile::tempdir().unwrap();
    rootfs::busybox(dir.path()).unwrap();
    assert!(dir.path().join("bin/sh").exists());

    let registry = Registry::start().unwrap();
    let manifest = registry.push_rootfs(dir.path(), "base:1").unwrap();
    let name = format!("docker://{}/base:1", registry.host());
    let seen = skopeo(&[
        "inspect",
        "--tls-verify=false",
        "--format",
        "{{.Digest}} {{.Os}}",
        &name,
    ]);
    assert_eq!(seen.trim(), format!("{} linux", manifest.digest));
}

#[test]
fn a_protected_registry_wants_a_password() {
    let dir = tempfile::tempdir().unwrap();
    rootfs::files(dir.path(), &[("/etc/motd", "hello\n")]).unwrap();
    let registry = Registry::start_protected(Protection {
        basic: Some(("kim".to_owned(), "secret".to_owned())),
        transport: Transport::Https,
    })
    .unwrap();
    assert!(
        fs::read_to_string(registry.ca())
            .unwrap()
            .contains("BEGIN CERTIFICATE")
    );

    let layout = dir.path().join("layout");
    let tree = dir.path().join("etc");
    let images = [
        Image::new()
            .layer_as(&tree, Compression::Zstd)
            .platform("linux/amd64"),
        Image::new()
            .layer_as(&tree, Compression::None)
            .platform("linux/arm64/v8"),
    ];
    let index = write_index(&layout, "many", &images).unwrap();
    registry.push_layout(&layout, "many", "many:1").unwrap();

    let name = format!("docker://{}/many:1", registry.host());
    let raw = skopeo(&[
        "inspect",
        "--tls-verify=false",
        "--creds",
        "kim:secret",
        "--raw",
        &name,
    ]);
    assert_eq!(raw.len() as u64, index.size);
    let denied = Command::new("skopeo")
        .args(["inspect", "--tls-verify=false", "--no-creds", &name])
        .output()
        .unwrap();
    assert!(!denied.status.success());
}
