//! Several processes on one root, some of them killed in the middle of their work.

use std::fs;
use std::path::Path;

use kiln_store::cache_mount::{CacheMountRequest, Sharing};
use rstest::rstest;

use super::child::Child;
use super::setup::{Rig, digest_of, expect, files, mounts_below, options, write};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_killed_writer_leaves_no_blob() {
    let rig = Rig::new();
    let mut child = Child::start("write a blob", &[text(rig.root())]);
    child.line();
    child.kill();
    assert_eq!(
        fs::read_dir(rig.root().join("content/ingest"))
            .unwrap()
            .count(),
        0
    );
    assert!(
        !rig.store
            .content()
            .exists(&digest_of(&[3; 1 << 20]))
            .unwrap()
    );
}

#[test]
fn a_tree_being_made_is_safe_until_its_maker_dies() {
    let rig = Rig::new();
    let mut child = Child::start("make a tree", &[text(rig.root())]);
    let id = child.line();
    assert_eq!(rig.prune_all(), []);
    let record = rig
        .usage()
        .into_iter()
        .find(|record| record.id == id)
        .unwrap();
    assert!(record.mutable && record.in_use);
    child.kill();
    assert_eq!(
        rig.prune_all().len(),
        1,
        "its base; the unfinished tree itself is swept away"
    );
    assert_eq!(rig.usage(), []);
    assert_eq!(rig.snapshots(), 0);
    assert_eq!(mounts_below(rig.root()), [""; 0]);
}

#[test]
fn the_next_start_sweeps_up() {
    let rig = Rig::new();
    let mut child = Child::start("make a tree", &[text(rig.root())]);
    let id = child.line();
    child.kill();
    let next = super::setup::open(rig.root());
    next.settle();
    assert!(rig.usage().iter().all(|record| record.id != id));
    assert_eq!(rig.snapshots(), 1);
}

#[test]
fn what_another_process_uses_is_kept() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| write(tree, "a", "a"));
    let top = rig.layer(Some(&base), |tree| write(tree, "b", "b"));
    let id = top.id().to_owned();
    drop((base, top));
    rig.store.settle();
    let mut child = Child::start("hold a ref", &[text(rig.root()), &id]);
    child.line();
    assert_eq!(rig.prune_all(), []);
    assert!(rig.usage().iter().all(|record| record.in_use));
    child.kill();
    assert!(rig.usage().iter().all(|record| !record.in_use));
    assert_eq!(rig.prune_all().len(), 2);
}

#[test]
fn a_lease_ends_with_its_process() {
    let rig = Rig::new();
    let mut child = Child::start("hold a lease", &[text(rig.root())]);
    let digest = child.line().parse().unwrap();
    rig.prune_all();
    assert!(rig.store.content().exists(&digest).unwrap());
    child.kill();
    rig.prune_all();
    assert!(!rig.store.content().exists(&digest).unwrap());
    assert_eq!(fs::read_dir(rig.root().join("leases")).unwrap().count(), 0);
}

#[test]
fn a_killed_process_leaves_no_mount() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| write(tree, "a", "a"));
    let mut child = Child::start("mount", &[text(rig.root()), base.id()]);
    assert_eq!(child.line(), "mounted");
    assert_eq!(mounts_below(rig.root()), [""; 0]);
    child.kill();
    super::setup::open(rig.root()).settle();
    assert_eq!(rig.snapshots(), 1);
    let again = rig.layer(Some(&base), |tree| write(tree, "b", "b"));
    assert_eq!(files(&rig.store, &again), expect(&[("a", "a"), ("b", "b")]));
}

/// Killed at many moments between two commits: what was committed is whole, the rest is gone.
#[test]
fn commits_survive_a_kill() {
    let rig = Rig::new();
    for commits in 1..12 {
        let mut child = Child::start("commit", &[text(rig.root())]);
        let said = (0..commits).map(|_| child.line()).last().unwrap();
        child.kill();
        let (id, number) = said.split_once(' ').unwrap();
        let tree = rig.store.get(id).unwrap().unwrap();
        let found = files(&rig.store, &tree);
        assert_eq!(found.len(), number.parse::<usize>().unwrap() + 1);
        assert!(found.iter().all(|(path, content)| path == content));
    }
    super::setup::open(rig.root()).settle();
    assert!(
        rig.usage()
            .iter()
            .all(|record| !record.mutable && !record.in_use)
    );
    let records = rig.usage().len();
    assert_eq!(rig.snapshots(), records);
    assert_eq!(rig.prune_all().len(), records);
    assert_eq!(rig.snapshots(), 0);
}

#[rstest]
#[tokio::test]
async fn a_killed_unpack_is_done_again(#[values("stream", "fetch")] way: &str) {
    let rig = Rig::new();
    for _ in 0..5 {
        let mut child = Child::start("unpack", &[text(rig.root()), way]);
        child.line();
        child.go_on();
        assert_eq!(child.line(), "unpacking");
        child.kill();
    }
    let mut children = [0, 1, 2].map(|_| Child::start("unpack", &[text(rig.root()), way]));
    let ids = children.each_mut().map(Child::line);
    assert!(
        ids.iter().all(|id| *id == ids[0]),
        "one layer is one ref: {ids:?}"
    );
    children.iter_mut().for_each(Child::go_on);
    for child in &mut children {
        assert_eq!(child.line(), "unpacking");
        assert_eq!(child.line(), "unpacked");
    }
    let tree = rig.store.get(&ids[0]).unwrap().unwrap();
    assert_eq!(files(&rig.store, &tree)["file"].len(), 5_000_000);
    assert_eq!(rig.snapshots(), 1);
}

#[tokio::test]
async fn a_locked_cache_is_free_when_its_user_dies() {
    let rig = Rig::new();
    let mut child = Child::start("use a cache", &[text(rig.root()), "x"]);
    let id = child.line();
    let request = |sharing| CacheMountRequest {
        id: "x",
        sharing,
        seed: None,
        fill: None,
        description: String::new(),
    };
    let private = rig
        .store
        .cache_mount(request(Sharing::Private))
        .await
        .unwrap();
    assert_ne!(private.id(), id);
    let mut waiting = Box::pin(rig.store.cache_mount(request(Sharing::Locked)));
    assert!(futures::poll!(&mut waiting).is_pending());
    child.kill();
    assert_eq!(waiting.await.unwrap().id(), id);
}

/// Two processes prune while this one builds on what they would like to remove.
#[test]
fn pruning_and_building_do_not_collide() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| write(tree, "base", "base"));
    let ids: Vec<String> = (0..40)
        .map(|number| {
            rig.layer(Some(&base), |tree| write(tree, "n", &number.to_string()))
                .id()
                .to_owned()
        })
        .collect();
    rig.store.settle();
    let mut children = [0, 1].map(|_| Child::start("prune", &[text(rig.root())]));
    children
        .iter_mut()
        .for_each(|child| assert_eq!(child.line(), "ready"));
    children.iter_mut().for_each(Child::go_on);
    let mut built = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        // Gone is fine. What is found must be whole and stay so.
        let Some(found) = rig.store.get(id).unwrap() else {
            continue;
        };
        let top = rig.layer(Some(&found), |tree| write(tree, "top", "top"));
        assert_eq!(files(&rig.store, &top)["n"], number.to_string());
        built.push(top);
    }
    let removed: usize = children
        .iter_mut()
        .map(|child| child.line().parse::<usize>().unwrap())
        .sum();
    assert_eq!(removed + built.len(), ids.len());
    for top in &built {
        assert_eq!(files(&rig.store, top).len(), 3);
    }
    let made = rig.store.mutable(Some(&base), options("")).unwrap();
    drop(made);
}

#[test]
fn a_user_namespace_will_do_for_root() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Child::start_in_user_namespace("delete and merge", &[text(dir.path())]);
    assert_eq!(child.line(), r#"["dir", "dir/new"]"#);
    assert_eq!(child.line(), r#"["dir", "dir/new", "dir/own"]"#);
}
