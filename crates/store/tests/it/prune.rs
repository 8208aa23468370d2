//! Disk usage and pruning.

use std::fs;
use std::time::{Duration, SystemTime};

use kiln_store::gc::{PruneOptions, SpaceLimits, UsageOptions, UsageRecord};
use kiln_store::kept;
use kiln_store::refs::LayerBlob;
use kiln_store::{MutableOptions, RecordType, Ref, StoreErrorKind};
use oci_spec::image::{Descriptor, MediaType};
use rstest::rstest;

use super::setup::{Rig, files, options, write};

const MEGABYTE: u64 = 1 << 20;

fn typed(rig: &Rig, record_type: RecordType, description: &str) -> Ref {
    let options = MutableOptions {
        record_type,
        description: description.to_owned(),
        created: None,
    };
    let made = rig.store.mutable(None, options).unwrap();
    fs::write(
        made.local_dir().unwrap().join("data"),
        vec![1; MEGABYTE as usize],
    )
    .unwrap();
    made.commit().unwrap()
}

fn ids(records: &[UsageRecord]) -> Vec<&str> {
    records.iter().map(|record| record.id.as_str()).collect()
}

/// Blocks of everything below a directory.
fn disk(path: &std::path::Path) -> u64 {
    let output = std::process::Command::new("du")
        .args(["-s", "-B512"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace()
        .next()
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 512
}

#[test]
fn usage_tells_what_is_built_on_what() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| write(tree, "a", "a"));
    let top = rig.layer(Some(&base), |tree| write(tree, "b", "b"));
    let alone = typed(&rig, RecordType::SourceLocal, "local source");
    let (base_id, top_id, alone_id) = (
        base.id().to_owned(),
        top.id().to_owned(),
        alone.id().to_owned(),
    );
    drop((base, alone));
    rig.store.settle();
    let usage = rig.usage();
    let find = |id: &str| usage.iter().find(|record| record.id == id).unwrap();
    assert!(
        find(&base_id).in_use,
        "what a ref in use is built on is in use"
    );
    assert_eq!(find(&top_id).parents, [base_id]);
    let alone = find(&alone_id);
    assert!(!alone.in_use && !alone.mutable && alone.last_used.is_some());
    assert_eq!(
        (alone.usage_count, alone.record_type.as_str()),
        (1, "source.local")
    );
    assert!(alone.size >= MEGABYTE);
}

#[test]
fn usage_adds_up() {
    let rig = Rig::new();
    let base = typed(&rig, RecordType::Regular, "base");
    let top = rig.layer(Some(&base), |tree| {
        write(tree, "dir/b", &"b".repeat(100_000))
    });
    let blob = rig.store.content().put(&vec![5; 300_000]).unwrap();
    let descriptor = Descriptor::new(MediaType::ImageLayer, blob.size, blob.digest.clone());
    for owner in [&base, &top] {
        let blob = LayerBlob {
            descriptor: descriptor.clone(),
            diff_id: blob.digest.clone(),
        };
        rig.store.set_layer_blob(owner, blob).unwrap();
    }
    // A tree of hard links to another one, as sources make them.
    let linked = rig.store.mutable(None, options("linked")).unwrap();
    let from = base.local_dir().unwrap().unwrap();
    fs::hard_link(from.join("data"), linked.local_dir().unwrap().join("data")).unwrap();
    write(linked.local_dir().unwrap(), "own", &"o".repeat(50_000));
    let linked = linked.commit().unwrap();

    let sum = |usage: &[UsageRecord]| usage.iter().map(|record| record.size).sum::<u64>();
    let on_disk = || {
        disk(&rig.root().join("snapshots")) + disk(&rig.root().join("content/blobs/sha256"))
            - 512 * 8 * 2 // the two directories themselves
    };
    assert_eq!(sum(&rig.usage()), on_disk());
    drop(linked);
    rig.prune_all();
    assert_eq!(sum(&rig.usage()), on_disk(), "shares of hard links follow");
}

#[test]
fn prune_takes_only_what_nobody_uses() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| write(tree, "a", "a"));
    let top = rig.layer(Some(&base), |tree| write(tree, "b", "b"));
    let side = rig.layer(Some(&base), |tree| write(tree, "c", "c"));
    let making = rig.store.mutable(Some(&top), options("")).unwrap();
    let (top_id, side_id) = (top.id().to_owned(), side.id().to_owned());
    drop((base, top, side));
    rig.store.settle();
    assert_eq!(ids(&rig.prune_all()), [side_id]);
    let tree = making.commit().unwrap();
    assert_eq!(files(&rig.store, &tree).len(), 2);
    assert!(rig.store.get(&top_id).unwrap().is_some());
    drop(tree);
    rig.store.settle();
    assert_eq!(
        rig.prune_all().len(),
        3,
        "children first, then what they were built on"
    );
    assert_eq!(rig.snapshots(), 0);
    assert_eq!(fs::read_dir(rig.root().join("trash")).unwrap().count(), 0);
}

#[test]
fn merges_and_diffs_keep_their_parents() {
    let rig = Rig::new();
    let a = rig.layer(None, |tree| write(tree, "a", "a"));
    let b = rig.layer(None, |tree| write(tree, "b", "b"));
    let merged = rig
        .store
        .merge(&[Some(a.clone()), Some(b)], options(""))
        .unwrap()
        .unwrap();
    let changes = rig
        .store
        .diff(Some(&a), Some(&merged), options(""))
        .unwrap()
        .unwrap();
    drop((a, merged));
    rig.prune_all();
    assert_eq!(files(&rig.store, &changes).len(), 1);
    drop(changes);
    assert_eq!(rig.prune_all().len(), 4);
}

#[rstest]
#[case::by_type(&["type==source.local"], &["local"])]
#[case::several_are_alternatives(&["type==source.local", "type==source.git.checkout"], &["git", "local"])]
#[case::commas_join(&["type==source.local,description==local"], &["local"])]
#[case::commas_join_none(&["type==source.local,description==git"], &[])]
#[case::not(&["type!=regular"], &["cache", "git", "local"])]
#[case::pattern(&["description~=^(g|l)"], &["git", "local"])]
#[case::pattern_in_slashes(&["description~=/^lo.a/"], &["local"])]
#[case::quoted(&[r#"description=="local""#], &["local"])]
#[case::present(&["parents"], &["child"])]
#[case::mutable(&["mutable"], &["cache"])]
#[case::immutable(&["immutable,type==regular"], &["child", "regular"])]
#[case::in_use(&["inuse"], &["child", "regular"])]
#[case::private(&["private,type==source.local"], &["local"])]
#[case::shared(&["shared"], &[])]
#[case::unknown(&["colour"], &[])]
#[case::empty(&[""], &["cache", "child", "git", "local", "regular"])]
#[tokio::test]
async fn filters_select(#[case] filters: &[&str], #[case] expected: &[&str]) {
    let rig = Rig::new();
    typed(&rig, RecordType::SourceLocal, "local");
    typed(&rig, RecordType::SourceGitCheckout, "git");
    let regular = typed(&rig, RecordType::Regular, "regular");
    let _child = rig
        .store
        .mutable(Some(&regular), options("child"))
        .unwrap()
        .commit()
        .unwrap();
    let request = kiln_store::cache_mount::CacheMountRequest {
        id: "x",
        sharing: Default::default(),
        seed: None,
        fill: None,
        description: "cache".to_owned(),
    };
    drop(rig.store.cache_mount(request).await.unwrap());
    rig.store.settle();
    let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
    let found = rig
        .store
        .disk_usage(&UsageOptions { filters, age: None })
        .unwrap();
    let mut found: Vec<&str> = found
        .iter()
        .map(|record| record.description.as_str())
        .collect();
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[rstest]
#[case(
    "type=",
    r#"filters: parse error: [type >|=|< ]: expected an operator ("=="|"!="|"~=")"#
)]
#[case("==x", "filters: parse error: [ >|=|< =x]: expected field or quoted")]
#[case("type==", "filters: parse error: [type==]: expected value or quoted")]
#[case(
    "type==a b",
    "filters: parse error: [type==a >| |< b]: unexpected input:  "
)]
fn bad_filters_are_explained(#[case] filter: &str, #[case] text: &str) {
    let rig = Rig::new();
    let options = PruneOptions {
        filters: vec![filter.to_owned()],
        ..PruneOptions::default()
    };
    let error = rig.store.prune(&options, &mut |_| true).unwrap_err();
    assert_eq!(error.to_string(), text);
    assert_eq!(error.kind(), StoreErrorKind::Input);
}

#[test]
fn prune_follows_filters() {
    let rig = Rig::new();
    typed(&rig, RecordType::SourceLocal, "local");
    typed(&rig, RecordType::Regular, "regular");
    rig.store.settle();
    let filters = vec!["type==source.local".to_owned()];
    let removed = rig.prune(&PruneOptions {
        filters,
        ..PruneOptions::default()
    });
    assert_eq!(removed.len(), 1);
    assert_eq!(removed[0].description, "local");
    assert!(removed[0].size >= MEGABYTE);
}

#[test]
fn internal_and_shared_records_go_only_with_all() {
    let rig = Rig::new();
    typed(&rig, RecordType::Internal, "internal");
    typed(&rig, RecordType::Frontend, "frontend");
    let base = typed(&rig, RecordType::Regular, "image base");
    let top = rig.layer(Some(&base), |tree| write(tree, "x", "x"));
    let layer = rig.store.content().put(b"layer").unwrap();
    let descriptor = Descriptor::new(MediaType::ImageLayer, layer.size, layer.digest.clone());
    rig.store
        .set_layer_blob(
            &top,
            LayerBlob {
                descriptor,
                diff_id: layer.digest.clone(),
            },
        )
        .unwrap();
    let manifest = format!(
        r#"{{"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":5}}]}}"#,
        layer.digest
    );
    let manifest = rig.store.content().put(manifest.as_bytes()).unwrap();
    let target = Descriptor::new(MediaType::ImageManifest, manifest.size, manifest.digest);
    rig.store.set_image("a", &target).unwrap();
    drop((base, top));
    rig.store.settle();
    assert_eq!(rig.usage().iter().filter(|record| record.shared).count(), 2);
    assert_eq!(rig.prune(&PruneOptions::default()), []);
    assert!(rig.store.content().exists(&layer.digest).unwrap());
    assert!(rig.store.image("a").unwrap().is_some());
    assert_eq!(rig.prune_all().len(), 4);
    assert!(!rig.store.content().exists(&layer.digest).unwrap());
    assert_eq!(rig.store.images().unwrap(), [], "nothing is left of it");
}

#[test]
fn recent_records_are_kept() {
    let rig = Rig::new();
    let old = typed(&rig, RecordType::Regular, "old").id().to_owned();
    typed(&rig, RecordType::Regular, "new");
    rig.store.settle();
    set_last_used(&rig, &old, Duration::from_secs(3 * 3600));
    let keep_duration = Duration::from_secs(3600);
    let removed = rig.prune(&PruneOptions {
        keep_duration,
        ..PruneOptions::default()
    });
    assert_eq!(ids(&removed), [old]);
    let unused = rig
        .store
        .disk_usage(&UsageOptions {
            filters: Vec::new(),
            age: Some(keep_duration),
        })
        .unwrap();
    assert_eq!(unused, []);
}

fn set_last_used(rig: &Rig, id: &str, ago: Duration) {
    let time = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        - ago;
    rig.store
        .database()
        .write(|transaction| {
            transaction.execute(
                "UPDATE refs SET last_used = ?2 WHERE id = ?1",
                (id, time.as_nanos() as i64),
            )
        })
        .unwrap();
}

#[test]
fn the_least_used_go_until_enough_is_free() {
    let rig = Rig::new();
    let ids: Vec<String> = (0..6)
        .map(|number| {
            typed(&rig, RecordType::Regular, &number.to_string())
                .id()
                .to_owned()
        })
        .collect();
    rig.store.settle();
    for (age, id) in ids.iter().enumerate() {
        set_last_used(&rig, id, Duration::from_secs(1_000 - age as u64));
    }
    // The oldest is used again and again.
    for _ in 0..5 {
        drop(rig.store.get(&ids[0]).unwrap());
        rig.store.settle();
    }
    let max_used_space = 3 * MEGABYTE + MEGABYTE / 2;
    let removed = rig.prune(&PruneOptions {
        max_used_space,
        ..PruneOptions::default()
    });
    let removed: Vec<&str> = removed
        .iter()
        .map(|record| record.description.as_str())
        .collect();
    assert_eq!(removed, ["1", "2", "3"]);
    let reserved_space = 2 * MEGABYTE + MEGABYTE / 2;
    let removed = rig.prune(&PruneOptions {
        max_used_space: 1,
        reserved_space,
        ..PruneOptions::default()
    });
    assert_eq!(removed.len(), 1, "never below what is reserved");
    let plenty = PruneOptions {
        min_free_space: 1,
        ..PruneOptions::default()
    };
    assert_eq!(rig.prune(&plenty), [], "enough is free");
    let never = PruneOptions {
        min_free_space: u64::MAX / 2,
        ..PruneOptions::default()
    };
    assert_eq!(rig.prune(&never).len(), 2);
}

#[test]
fn prune_can_be_stopped() {
    let rig = Rig::new();
    for number in 0..3 {
        typed(&rig, RecordType::Regular, &number.to_string());
    }
    rig.store.settle();
    let mut seen = 0;
    rig.store
        .prune(
            &PruneOptions {
                max_used_space: 1,
                ..PruneOptions::default()
            },
            &mut |_| {
                seen += 1;
                false
            },
        )
        .unwrap();
    assert_eq!((seen, rig.usage().len()), (1, 2));
}

#[test]
fn default_limits_follow_the_disk() {
    let limits = SpaceLimits::for_disk(50 << 30);
    assert_eq!(
        (limits.reserved, limits.max_used, limits.min_free),
        (6_000_000_000, 41_000_000_000, 11_000_000_000)
    );
    let large = SpaceLimits::for_disk(1 << 40);
    assert_eq!(
        (large.reserved, large.max_used),
        (10_000_000_000, 100_000_000_000)
    );
    let policy = large.policy();
    assert_eq!(policy.len(), 4);
    assert_eq!(policy[0].max_used_space, 512_000_000);
    assert_eq!(policy[1].keep_duration.as_secs(), 60 * 24 * 3600);
    assert!(policy[3].all && !policy[2].all);
}

#[test]
fn what_no_record_tells_of_is_counted_too() {
    let rig = Rig::new();
    let before = rig.store.unaccounted().unwrap();
    let made = rig.store.mutable(None, options("growing")).unwrap();
    fs::write(
        made.local_dir().unwrap().join("data"),
        vec![1; 8 * MEGABYTE as usize],
    )
    .unwrap();
    let growing = rig.store.unaccounted().unwrap();
    assert!(growing >= before + 8 * MEGABYTE, "{before} {growing}");
    // A finished tree has a record that tells its size.
    let made = made.commit().unwrap();
    let after = rig.store.unaccounted().unwrap();
    assert!(after < before + MEGABYTE, "{before} {after}");
    drop(made);
    rig.store
        .content()
        .put(&vec![2; 4 * MEGABYTE as usize])
        .unwrap();
    let with_blob = rig.store.unaccounted().unwrap();
    assert!(with_blob >= after + 4 * MEGABYTE, "{after} {with_blob}");
}

#[test]
fn kept_blobs_stay_until_they_are_released() {
    let rig = Rig::new();
    let blob = rig.store.content().put(b"kept").unwrap();
    let other = rig.store.content().put(b"not kept").unwrap();
    let change = |work: &dyn Fn(&rusqlite::Transaction<'_>) -> rusqlite::Result<()>| {
        let database = rig.store.database();
        database.write(|transaction| work(transaction)).unwrap();
    };
    change(&|transaction| {
        kept::keep(transaction, "test/a", [blob.digest.as_ref()])?;
        kept::keep(transaction, "test/b", [blob.digest.as_ref()])
    });
    rig.prune_all();
    assert!(rig.store.content().exists(&blob.digest).unwrap());
    assert!(!rig.store.content().exists(&other.digest).unwrap());
    change(&|transaction| kept::release(transaction, "test/a"));
    rig.prune_all();
    assert!(rig.store.content().exists(&blob.digest).unwrap());
    change(&|transaction| kept::release(transaction, "test/b"));
    rig.prune_all();
    assert!(!rig.store.content().exists(&blob.digest).unwrap());
}
