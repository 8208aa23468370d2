//! What users are told when the disk or the machine does not play along.

use std::fs;
use std::path::Path;
use std::process::Command;

use kiln_store::{Store, StoreErrorKind, StoreOptions};

use super::child::Child;
use super::setup::{Rig, open, options, write};

/// A small file system of its own; unmounted at the end.
struct Small(tempfile::TempDir);

impl Small {
    fn new(mount_options: &str) -> Small {
        let dir = tempfile::tempdir().unwrap();
        let mount = |options: &str| {
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", options, "tmpfs"])
                .arg(dir.path())
                .status()
                .unwrap()
        };
        assert!(mount(mount_options).success());
        Small(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .status();
    }
}

#[test]
fn a_full_disk_is_explained() {
    let disk = Small::new("size=8m");
    let store = open(disk.path());
    let mut writer = store.content().writer(None).unwrap();
    let error = std::iter::repeat_with(|| writer.append(&[1; 100_000]))
        .find_map(Result::err)
        .unwrap();
    let text = error.to_string();
    assert!(
        text.contains(disk.path().to_str().unwrap()) && text.contains("prune"),
        "{text}"
    );
    assert!(kiln_store::StoreError::from(error).is_disk_full());
    // What was half written is gone: small things fit again.
    drop(writer);
    store.content().put(b"small").unwrap();
    let made = store.mutable(None, options("")).unwrap();
    write(made.local_dir().unwrap(), "a", "a");
    made.commit().unwrap();
}

#[test]
fn a_read_only_root_is_explained() {
    let disk = Small::new("size=8m");
    assert!(
        Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(disk.path())
            .status()
            .unwrap()
            .success()
    );
    let error = Store::open(StoreOptions {
        root: disk.path().join("root"),
    })
    .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(disk.path().to_str().unwrap()) && text.contains("--root"),
        "{text}"
    );
    assert_eq!(error.kind(), StoreErrorKind::Environment);
}

#[test]
fn a_file_in_place_of_the_root_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "").unwrap();
    let error = Store::open(StoreOptions { root: path.clone() }).unwrap_err();
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn a_root_that_mounts_cannot_name_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a:b");
    let error = Store::open(StoreOptions { root: path.clone() }).unwrap_err();
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
}

/// A mount needs root or a user namespace; everything else does not.
#[test]
fn mounting_without_privileges_is_told_apart() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| write(tree, "a", "a"));
    let id = base.id().to_owned();
    drop(base);
    rig.store.settle();
    let root = rig.root().to_str().unwrap().to_owned();
    for entry in walk(rig.root()) {
        std::os::unix::fs::lchown(entry, Some(65534), Some(65534)).unwrap();
    }
    let mut child = Child::start_as_nobody("mount", &[&root, &id]);
    assert_eq!(child.line(), "Unprivileged");
}

fn walk(root: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![root.to_owned()];
    let mut next = 0;
    while next < found.len() {
        let path = found[next].clone();
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            found.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
        next += 1;
    }
    found
}
