//! Cache directories: who shares them with whom.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use futures::poll;
use kiln_store::cache_mount::{CacheMount, CacheMountRequest, Sharing};
use kiln_store::{Ref, Store};

use super::setup::{Rig, open, write};

fn request(id: &str, sharing: Sharing) -> CacheMountRequest<'_> {
    CacheMountRequest {
        id,
        sharing,
        seed: None,
        fill: None,
        description: format!("cached mount {id}"),
    }
}

async fn take(store: &Store, id: &str, sharing: Sharing) -> CacheMount {
    store.cache_mount(request(id, sharing)).await.unwrap()
}

#[tokio::test]
async fn a_cache_is_kept() {
    let rig = Rig::new();
    let cache = take(&rig.store, "cargo", Sharing::Shared).await;
    write(cache.dir(), "a/b", "kept");
    let id = cache.id().to_owned();
    assert_eq!(cache.mounts()[0].source, cache.dir());
    drop(cache);
    let again = take(&open(rig.root()), "cargo", Sharing::Shared).await;
    assert_eq!(again.id(), id);
    assert_eq!(fs::read_to_string(again.dir().join("a/b")).unwrap(), "kept");
    let other = take(&rig.store, "npm", Sharing::Shared).await;
    assert_ne!(other.id(), id);
}

#[tokio::test]
async fn shared_caches_are_used_by_all() {
    let rig = Rig::new();
    let first = take(&rig.store, "x", Sharing::Shared).await;
    let second = take(&rig.store, "x", Sharing::Shared).await;
    let third = take(&open(rig.root()), "x", Sharing::Shared).await;
    assert_eq!((second.id(), third.id()), (first.id(), first.id()));
}

#[tokio::test]
async fn private_caches_are_used_by_one() {
    let rig = Rig::new();
    let first = take(&rig.store, "x", Sharing::Private).await;
    let second = take(&rig.store, "x", Sharing::Private).await;
    assert_ne!(first.id(), second.id());
    let free = second.id().to_owned();
    drop(second);
    assert_eq!(
        take(&open(rig.root()), "x", Sharing::Private).await.id(),
        free
    );
}

#[tokio::test]
async fn locked_caches_are_waited_for() {
    let rig = Rig::new();
    let first = take(&rig.store, "x", Sharing::Locked).await;
    let id = first.id().to_owned();
    let other = open(rig.root());
    let mut waiting = Box::pin(take(&other, "x", Sharing::Locked));
    assert!(poll!(&mut waiting).is_pending());
    drop(first);
    assert_eq!(waiting.await.id(), id);
}

#[tokio::test]
async fn a_cache_begins_with_its_seed() {
    let rig = Rig::new();
    let seed = |mode: u32| -> Ref {
        rig.layer(None, |tree| {
            write(tree, "cache/file", "seed");
            fs::set_permissions(tree.join("cache"), fs::Permissions::from_mode(mode)).unwrap();
            chown(tree.join("cache"), Some(7), Some(8)).unwrap();
        })
    };
    let (one, two) = (seed(0o700), seed(0o750));
    let with = |seed| CacheMountRequest {
        seed: Some(seed),
        ..request("x", Sharing::Shared)
    };
    let cache = rig.store.cache_mount(with(&one)).await.unwrap();
    let found = fs::metadata(cache.dir().join("cache")).unwrap();
    assert_eq!(
        (found.mode() & 0o777, found.uid(), found.gid()),
        (0o700, 7, 8)
    );
    assert_eq!(
        fs::read_to_string(cache.dir().join("cache/file")).unwrap(),
        "seed"
    );
    write(cache.dir(), "cache/file", "changed");
    assert_eq!(
        fs::read_to_string(one.local_dir().unwrap().unwrap().join("cache/file")).unwrap(),
        "seed"
    );
    let (id, other) = (
        cache.id().to_owned(),
        rig.store.cache_mount(with(&two)).await.unwrap(),
    );
    assert_ne!(other.id(), id);
    drop(cache);
    let again = rig.store.cache_mount(with(&one)).await.unwrap();
    assert_eq!(
        fs::read_to_string(again.dir().join("cache/file")).unwrap(),
        "changed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_make_one_shared_directory() {
    let rig = Rig::new();
    for round in 0..30 {
        let users = (0..8).map(|_| {
            let (store, id) = (rig.store.clone(), round.to_string());
            tokio::spawn(async move { take(&store, &id, Sharing::Shared).await })
        });
        let all = futures::future::try_join_all(users).await.unwrap();
        assert!(all.iter().all(|cache| cache.id() == all[0].id()));
    }
}

#[tokio::test]
async fn caches_in_use_are_not_pruned() {
    let rig = Rig::new();
    let cache = take(&rig.store, "x", Sharing::Shared).await;
    write(cache.dir(), "file", "x");
    assert_eq!(rig.prune_all(), []);
    let usage = &rig.usage()[0];
    assert_eq!(
        (usage.record_type.as_str(), usage.mutable, usage.in_use),
        ("exec.cachemount", true, true)
    );
    assert_eq!(usage.description, "cached mount x");
    drop(cache);
    rig.store.settle();
    assert!(rig.usage()[0].size > 0 && !rig.usage()[0].in_use);
    assert_eq!(rig.prune_all().len(), 1);
    assert_eq!(rig.snapshots(), 0);
}
