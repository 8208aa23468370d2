//! Trees: made, committed, stacked, mounted.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use kiln_store::{MutableOptions, RecordType};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lgetxattr, lsetxattr, mknodat};

use super::setup::{Rig, expect, files, links, mounts_below, options, write};

#[test]
fn a_tree_is_what_was_written() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| write(tree, "etc/name", "base"));
    let top = rig.layer(Some(&base), |tree| {
        write(tree, "etc/name", "top");
        write(tree, "new", "new");
    });
    assert_eq!(
        files(&rig.store, &base),
        expect(&[("etc", "dir"), ("etc/name", "base")])
    );
    assert_eq!(
        files(&rig.store, &top),
        expect(&[("etc", "dir"), ("etc/name", "top"), ("new", "new")])
    );
}

#[test]
fn a_ref_is_found_again() {
    let rig = Rig::new();
    let created = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
    let made = MutableOptions {
        description: "a checkout".to_owned(),
        record_type: RecordType::SourceGitCheckout,
        created: Some(created),
    };
    let base = rig.layer(None, |tree| write(tree, "a", "a"));
    let id = rig
        .store
        .mutable(Some(&base), made)
        .unwrap()
        .commit()
        .unwrap()
        .id()
        .to_owned();
    assert_eq!(id.len(), 25);
    rig.store.settle();
    let found = rig.store.get(&id).unwrap().unwrap();
    assert_eq!(found.description(), "a checkout");
    assert_eq!(found.record_type().as_str(), "source.git.checkout");
    assert_eq!(found.created(), created);
    assert_eq!(found.parents()[0].id(), base.id());
    assert!(rig.store.get("nonsense").unwrap().is_none());
    assert!(rig.store.contains(&id).unwrap());
    assert!(!rig.store.contains("nonsense").unwrap());
}

#[test]
fn keys_and_values_follow_a_ref() {
    let rig = Rig::new();
    let made = rig.layer(None, |tree| write(tree, "a", "a"));
    rig.store.set_key("local:x", &made).unwrap();
    made.set_value("checksums", b"\0\xff").unwrap();
    made.set_value("checksums", b"\0\xfe").unwrap();
    assert_eq!(
        rig.store.ref_by_key("local:x").unwrap().unwrap().id(),
        made.id()
    );
    assert_eq!(made.value("checksums").unwrap().unwrap(), b"\0\xfe");
    assert_eq!(made.value("other").unwrap(), None);
    drop(made);
    rig.prune_all();
    assert!(rig.store.ref_by_key("local:x").unwrap().is_none());
}

#[test]
fn commit_copies_nothing() {
    let rig = Rig::new();
    let made = rig.store.mutable(None, options("")).unwrap();
    let path = made.local_dir().unwrap().join("file");
    fs::write(&path, "x").unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    let tree = made.commit().unwrap();
    let committed = tree.local_dir().unwrap().unwrap().join("file");
    assert_eq!(fs::metadata(committed).unwrap().ino(), inode);
}

#[test]
fn a_dropped_tree_is_gone() {
    let rig = Rig::new();
    let made = rig.store.mutable(None, options("")).unwrap();
    fs::write(made.upper_dir().join("file"), "x").unwrap();
    drop(made);
    rig.store.settle();
    assert_eq!(rig.snapshots(), 0);
    assert_eq!(rig.usage(), []);
}

#[test]
fn every_kind_of_file_is_kept() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| {
        write(tree, "file", "content");
        write(tree, "kept/a", "a");
        fs::set_permissions(tree.join("file"), fs::Permissions::from_mode(0o4755)).unwrap();
        lsetxattr(tree.join("file"), "user.note", b"text", XattrFlags::empty()).unwrap();
        std::os::unix::fs::symlink("file", tree.join("link")).unwrap();
        fs::hard_link(tree.join("file"), tree.join("hard")).unwrap();
        mknodat(
            CWD,
            tree.join("null"),
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            0x103,
        )
        .unwrap();
        mknodat(
            CWD,
            tree.join("fifo"),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        UnixListener::bind(tree.join("socket")).unwrap();
        std::os::unix::fs::lchown(tree.join("link"), Some(1000), Some(1001)).unwrap();
        fs::set_permissions(tree, fs::Permissions::from_mode(0o1777)).unwrap();
    });
    let top = rig.layer(Some(&base), |tree| write(tree, "top", "top"));
    let mounted = rig.store.mount(&top.mounts().unwrap()).unwrap();
    let at = |name: &str| mounted.path().join(name);
    let look = |name: &str| fs::symlink_metadata(at(name)).unwrap();
    assert_eq!(look("file").mode() & 0o7777, 0o4755);
    let mut value = [0; 16];
    let length = lgetxattr(at("file"), "user.note", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"text");
    assert_eq!(fs::read_link(at("link")).unwrap().to_str(), Some("file"));
    assert_eq!((look("link").uid(), look("link").gid()), (1000, 1001));
    assert_eq!(
        (links(&at("hard")), look("hard").ino()),
        (2, look("file").ino())
    );
    assert_eq!(look("null").rdev(), 0x103);
    assert!(look("fifo").file_type().is_fifo());
    assert!(look("socket").file_type().is_socket());
    assert_eq!(
        fs::metadata(mounted.path()).unwrap().mode() & 0o7777,
        0o1777,
        "the root keeps its mode"
    );
}

#[test]
fn deletions_are_kept() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| {
        write(tree, "gone", "");
        write(tree, "dir/old", "");
        write(tree, "other/x", "");
    });
    let top = rig.layer(Some(&base), |tree| {
        fs::remove_file(tree.join("gone")).unwrap();
        fs::remove_dir_all(tree.join("dir")).unwrap();
        write(tree, "dir/new", "");
        fs::remove_dir_all(tree.join("other")).unwrap();
        fs::write(tree.join("other"), "now a file").unwrap();
    });
    let again = rig.layer(Some(&top), |tree| write(tree, "gone", "back"));
    assert_eq!(
        files(&rig.store, &top),
        expect(&[("dir", "dir"), ("dir/new", ""), ("other", "now a file")])
    );
    assert_eq!(files(&rig.store, &again)["gone"], "back");
    // What is exported: whiteouts as devices and an opaque mark in the upper directory.
    let layers = top.layers().unwrap();
    let upper = layers[1].dir.as_ref().unwrap();
    let whiteout = fs::symlink_metadata(upper.join("gone")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    let mut value = [0; 4];
    assert_eq!(
        lgetxattr(upper.join("dir"), "trusted.overlay.opaque", &mut value[..]),
        Ok(1)
    );
    assert_eq!(layers[1].below, [layers[0].dir.clone().unwrap()]);
    assert!(layers[0].below.is_empty());
}

#[test]
fn new_directories_are_not_opaque() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| write(tree, "a/b", ""));
    let top = rig.layer(Some(&base), |tree| write(tree, "a/new/dir/file", ""));
    let upper = top.layers().unwrap()[1].dir.clone().unwrap();
    let mut value = [0; 4];
    for directory in ["a", "a/new", "a/new/dir"] {
        let found = lgetxattr(
            upper.join(directory),
            "trusted.overlay.opaque",
            &mut value[..],
        );
        assert_eq!(found, Err(rustix::io::Errno::NODATA), "{directory}");
    }
}

#[test]
fn renamed_directories_are_whole() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| write(tree, "old/file", "content"));
    let top = rig.layer(Some(&base), |tree| {
        // Overlayfs refuses to rename a directory of a lower layer by reference; tools copy it then.
        assert!(fs::rename(tree.join("old"), tree.join("new")).is_err());
        write(tree, "new/file", "content");
        fs::remove_dir_all(tree.join("old")).unwrap();
    });
    let upper = top.layers().unwrap()[1].dir.clone().unwrap();
    assert_eq!(
        fs::read_to_string(upper.join("new/file")).unwrap(),
        "content"
    );
    assert_eq!(
        files(&rig.store, &top),
        expect(&[("new", "dir"), ("new/file", "content")])
    );
}

#[test]
fn two_hundred_layers_mount() {
    let rig = Rig::new();
    let mut tree = rig.layer(None, |tree| write(tree, "0", "0"));
    for number in 1..200 {
        let made = rig.store.mutable(Some(&tree), options("")).unwrap();
        fs::write(
            made.upper_dir().join(number.to_string()),
            number.to_string(),
        )
        .unwrap();
        tree = made.commit().unwrap();
    }
    assert_eq!(tree.layers().unwrap().len(), 200);
    let found = files(&rig.store, &tree);
    assert_eq!(found.len(), 200);
    assert_eq!(found["199"], "199");
    let top = rig.layer(Some(&tree), |tree| fs::remove_file(tree.join("0")).unwrap());
    assert!(!files(&rig.store, &top).contains_key("0"));
}

#[test]
fn a_tree_may_be_mounted_again_before_its_commit() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| write(tree, "a", "a"));
    let made = rig.store.mutable(Some(&base), options("")).unwrap();
    for name in ["b", "c"] {
        let tree = rig.store.mount(&made.mounts().unwrap()).unwrap();
        write(tree.path(), name, name);
    }
    let tree = made.commit().unwrap();
    assert_eq!(
        files(&rig.store, &tree),
        expect(&[("a", "a"), ("b", "b"), ("c", "c")])
    );
}

#[test]
fn mounts_are_in_no_namespace_and_read_only() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| write(tree, "a", "a"));
    let top = rig.layer(Some(&base), |tree| write(tree, "b", "b"));
    let mounted = rig.store.mount(&top.mounts().unwrap()).unwrap();
    assert_eq!(mounts_below(rig.root()), [""; 0]);
    let error = fs::write(mounted.path().join("c"), "c").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
}

#[test]
fn only_whole_directories_are_handed_out() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| write(tree, "a", "a"));
    let top = rig.layer(Some(&base), |tree| write(tree, "b", "b"));
    assert!(base.local_dir().unwrap().is_some());
    assert_eq!(top.local_dir().unwrap(), None);
}

#[test]
fn too_many_layers_are_explained() {
    let rig = Rig::new();
    let layers: Vec<_> = (0..501)
        .map(|_| {
            Some(
                rig.store
                    .mutable(None, options(""))
                    .unwrap()
                    .commit()
                    .unwrap(),
            )
        })
        .collect();
    let merged = rig.store.merge(&layers, options("")).unwrap().unwrap();
    let error = merged.mounts().unwrap_err().to_string();
    assert!(error.contains("501") && error.contains("500"), "{error}");
    let most = rig.store.merge(&layers[1..], options("")).unwrap().unwrap();
    rig.store.mount(&most.mounts().unwrap()).unwrap();
}
