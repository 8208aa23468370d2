//! Merges and diffs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kiln_store::Ref;

use super::setup::{Rig, expect, files, links, options, write};

fn merge(rig: &Rig, inputs: &[Option<Ref>]) -> Option<Ref> {
    rig.store.merge(inputs, options("merge")).unwrap()
}

async fn diff(rig: &Rig, lower: Option<&Ref>, upper: Option<&Ref>) -> Option<Ref> {
    let made = rig.store.diff(lower, upper, options("diff")).unwrap()?;
    made.materialize().await.unwrap();
    Some(made)
}

#[test]
fn a_merge_is_its_layers() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| write(tree, "bin/sh", "sh"));
    let app = rig.layer(None, |tree| write(tree, "app/main", "main"));
    let conf = rig.layer(None, |tree| write(tree, "app/conf", "conf"));
    let merged = merge(
        &rig,
        &[
            Some(base.clone()),
            None,
            Some(app.clone()),
            Some(conf.clone()),
        ],
    )
    .unwrap();
    assert_eq!(
        files(&rig.store, &merged),
        expect(&[
            ("app", "dir"),
            ("app/conf", "conf"),
            ("app/main", "main"),
            ("bin", "dir"),
            ("bin/sh", "sh")
        ])
    );
    let owners: Vec<String> = merged
        .layers()
        .unwrap()
        .iter()
        .map(|layer| layer.owner.id().to_owned())
        .collect();
    assert_eq!(owners, [base.id(), app.id(), conf.id()]);
    // Merges of merges have no merges inside.
    let again = merge(&rig, &[Some(merged.clone()), Some(base.clone())]).unwrap();
    assert_eq!(again.parents().len(), 4);
    assert_eq!(
        files(&rig.store, &again),
        files(&rig.store, &merged),
        "a layer may occur twice"
    );
    assert_eq!(again.layers().unwrap().len(), 4);
}

#[test]
fn a_merge_of_little_is_no_merge() {
    let rig = Rig::new();
    let one = rig.layer(None, |tree| write(tree, "a", "a"));
    assert!(merge(&rig, &[]).is_none());
    assert!(merge(&rig, &[None, None]).is_none());
    assert_eq!(
        merge(&rig, &[None, Some(one.clone())]).unwrap().id(),
        one.id()
    );
}

#[tokio::test]
async fn a_diff_of_a_chain_is_its_upper_layers() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| {
        write(tree, "gone", "gone");
        write(tree, "kept", "kept");
    });
    let one = rig.layer(Some(&base), |tree| {
        fs::remove_file(tree.join("gone")).unwrap()
    });
    let two = rig.layer(Some(&one), |tree| write(tree, "new", "new"));
    let changes = diff(&rig, Some(&base), Some(&two)).await.unwrap();
    assert_eq!(
        files(&rig.store, &changes),
        expect(&[("new", "new")]),
        "a deletion does not show"
    );
    let owners: Vec<String> = changes
        .layers()
        .unwrap()
        .iter()
        .map(|layer| layer.owner.id().to_owned())
        .collect();
    assert_eq!(
        owners,
        [one.id(), two.id()],
        "its layers are exported as they are"
    );
    assert!(diff(&rig, Some(&two), Some(&two)).await.is_none());
    assert_eq!(diff(&rig, None, Some(&two)).await.unwrap().id(), two.id());

    let other = rig.layer(None, |tree| {
        write(tree, "gone", "also here");
        write(tree, "other", "other");
    });
    let merged = merge(&rig, &[Some(other), Some(changes)]).unwrap();
    assert_eq!(
        files(&rig.store, &merged),
        expect(&[("new", "new"), ("other", "other")]),
        "deletions apply"
    );
}

#[tokio::test]
async fn a_diff_of_strangers_is_a_comparison() {
    let rig = Rig::new();
    let fill = |tree: &Path| {
        write(tree, "same", "same");
        write(tree, "dir/same", "same");
        fs::File::open(tree.join("same"))
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();
        fs::File::open(tree.join("dir/same"))
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();
    };
    let lower = rig.layer(None, |tree| {
        fill(tree);
        write(tree, "gone/deep/er", "");
        write(tree, "changed", "before");
        write(tree, "type", "file");
        write(tree, "dir/gone", "");
    });
    let upper = rig.layer(None, |tree| {
        fill(tree);
        write(tree, "changed", "after");
        write(tree, "type/now", "inside");
        write(tree, "dir/new", "new");
        write(tree, "many", "names");
        fs::hard_link(tree.join("many"), tree.join("names")).unwrap();
        std::os::unix::fs::symlink("same", tree.join("link")).unwrap();
    });
    let changes = diff(&rig, Some(&lower), Some(&upper)).await.unwrap();
    let directory = changes.layers().unwrap()[0].dir.clone().unwrap();
    let mut written: Vec<String> = super::setup::files_of(&directory)
        .into_iter()
        .filter(|(_, text)| text != "dir")
        .map(|(path, text)| format!("{path}: {text}"))
        .collect();
    written.sort();
    assert_eq!(
        written,
        [
            "changed: after",
            "dir/gone: device 0x0",
            "dir/new: new",
            "gone: device 0x0",
            "link: -> same",
            "many: names",
            "names: names",
            "type/now: inside",
        ]
    );
    let merged = merge(&rig, &[Some(lower.clone()), Some(changes.clone())]).unwrap();
    assert_eq!(
        files(&rig.store, &merged),
        files(&rig.store, &upper),
        "lower plus diff is upper"
    );
    assert_eq!(links(&directory.join("many")), 4, "no content is copied");

    let nothing = diff(&rig, Some(&upper), None).await.unwrap();
    let emptied = merge(&rig, &[Some(upper), Some(nothing)]).unwrap();
    assert_eq!(files(&rig.store, &emptied), BTreeMap::new());
}

#[tokio::test]
async fn opaque_directories_hide_only_what_they_hid_before() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| {
        write(tree, "dir/old", "old");
        write(tree, "dir/sub/old", "old");
    });
    let top = rig.layer(Some(&base), |tree| {
        fs::remove_dir_all(tree.join("dir")).unwrap();
        write(tree, "dir/new", "new");
        write(tree, "dir/sub/new", "new");
    });
    let changes = diff(&rig, Some(&base), Some(&top)).await.unwrap();
    let other = rig.layer(None, |tree| {
        write(tree, "dir/old", "hidden");
        write(tree, "dir/own", "own");
        write(tree, "dir/sub/old", "hidden");
        write(tree, "dir/sub/own", "own");
    });
    let merged = merge(&rig, &[Some(other), Some(changes)]).unwrap();
    assert_eq!(
        files(&rig.store, &merged),
        expect(&[
            ("dir", "dir"),
            ("dir/new", "new"),
            ("dir/own", "own"),
            ("dir/sub", "dir"),
            ("dir/sub/new", "new"),
            ("dir/sub/own", "own"),
        ])
    );
    // On its own base nothing changes.
    assert_eq!(files(&rig.store, &top).len(), 4);
}

#[tokio::test]
async fn what_a_step_left_as_it_was_is_no_part_of_a_diff() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| {
        write(tree, "dir/kept", "kept");
        write(tree, "dir/linked", "linked");
        write(tree, "touched/old", "old");
    });
    // Each of these copies something up.
    let top = rig.layer(Some(&base), |tree| {
        let mode = fs::metadata(tree.join("touched")).unwrap().permissions();
        fs::set_permissions(tree.join("touched"), mode).unwrap();
        fs::hard_link(tree.join("dir/linked"), tree.join("name")).unwrap();
        write(tree, "new", "new");
    });
    let changes = diff(&rig, Some(&base), Some(&top)).await.unwrap();
    let expected = expect(&[("name", "linked"), ("new", "new")]);
    assert_eq!(files(&rig.store, &changes), expected);

    let other = rig.layer(None, |tree| write(tree, "dir/linked", "other"));
    let merged = merge(&rig, &[Some(other), Some(changes)]).unwrap();
    let expected = [
        ("dir", "dir"),
        ("dir/linked", "other"),
        ("name", "linked"),
        ("new", "new"),
    ];
    assert_eq!(files(&rig.store, &merged), expect(&expected));
}

#[tokio::test]
async fn deletions_over_nothing_do_not_show() {
    let rig = Rig::new();
    let lower = rig.layer(None, |tree| {
        write(tree, "dir/sub/gone", "gone");
        write(tree, "dir/deep/gone/er", "gone");
    });
    let strangers = rig.layer(None, |tree| write(tree, "dir/sub/new", "new"));
    let built_on_it = rig.layer(Some(&lower), |tree| {
        fs::remove_dir_all(tree.join("dir")).unwrap();
        write(tree, "dir/sub/new", "new");
    });
    for upper in [strangers, built_on_it] {
        let changes = diff(&rig, Some(&lower), Some(&upper)).await.unwrap();
        let expected = [("dir", "dir"), ("dir/sub", "dir"), ("dir/sub/new", "new")];
        assert_eq!(files(&rig.store, &changes), expect(&expected));
    }
}

#[tokio::test]
async fn trees_are_made_on_top_of_merges_and_diffs() {
    let rig = Rig::new();
    let a = rig.layer(None, |tree| write(tree, "a", "a"));
    let b = rig.layer(None, |tree| write(tree, "b", "b"));
    let merged = merge(&rig, &[Some(a.clone()), Some(b)]).unwrap();
    let top = rig.layer(Some(&merged), |tree| {
        fs::remove_file(tree.join("a")).unwrap()
    });
    assert_eq!(files(&rig.store, &top), expect(&[("b", "b")]));
    assert_eq!(top.layers().unwrap().len(), 3);
    let changes = diff(&rig, Some(&a), Some(&top)).await.unwrap();
    assert_eq!(changes.layers().unwrap().len(), 2);
}
