//! Caches that are exported, imported and used.

use std::fs;

use kiln_solver::Link;
use kiln_store::Ref;
use serde_json::Value;

use crate::fixture::{Bench, blob, chain, made, named, read_json, record};

/// The text of a file in a ref.
async fn read(bench: &Bench, reference: &Ref, name: &str) -> String {
    reference.materialize().await.unwrap();
    let mounted = bench.store.mount(&reference.mounts().unwrap()).unwrap();
    fs::read_to_string(mounted.path().join(name)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_lead_to_layers() {
    let (bench, other) = (Bench::new(), Bench::new());
    let (lower, upper) = (bench.layer("a", "lower"), bench.layer("b", "upper"));
    let dest = bench.path("cache");
    bench
        .export(&chain(&lower, &upper), &[("dest", dest.to_str().unwrap())])
        .await;

    let imported = other.import(&[("src", dest.to_str().unwrap())]).await;
    assert_eq!(imported.warnings, Vec::<String>::new());
    let cache = imported.cache.unwrap();
    let keys = &cache.keys;
    let source = named("source").to_string();
    assert!(keys.exists(&source).unwrap() && keys.results(&source).unwrap().is_empty());
    let link = |name: &str, selector: Option<&str>| Link {
        input: 0,
        digest: named(name),
        selector: selector.map(named),
    };
    let copy = keys.links(&source, &link("copy", None)).unwrap();
    assert_eq!(copy.len(), 1);
    assert_eq!(
        keys.links(&source, &link("copy", Some("selector")))
            .unwrap(),
        copy
    );
    assert!(
        keys.links(&source, &link("copy", Some("another")))
            .unwrap()
            .is_empty()
    );
    assert!(
        keys.has_link(&source, &link("copy", None), &copy[0])
            .unwrap()
    );
    let run = keys.links(&copy[0], &link("run", None)).unwrap();
    assert_eq!(
        keys.backlinks(&run[0]).unwrap(),
        [(copy[0].clone(), link("run", None))]
    );
    let results = keys.results(&run[0]).unwrap();
    assert_eq!(results.len(), 1);
    assert_eq!(results[0].created, made());
    assert_eq!(keys.keys_of_result(&results[0].id).unwrap(), run);
    assert_eq!(keys.result_ids().unwrap().len(), 2);

    assert!(cache.results.exists(&results[0].id) && !cache.results.exists("unknown"));
    let top = cache.results.load(&results[0].id).await.unwrap();
    assert!(top.is_lazy().unwrap());
    let ancestors = cache.results.load_ancestors(&results[0].id).await.unwrap();
    let below = ancestors.iter().find(|(key, _)| *key == copy[0]).unwrap();
    assert_eq!(read(&other, &below.1, "a").await, "lower");
    assert_eq!(read(&other, &top, "b").await, "upper");
    assert!(cache.results.save(&top, made()).await.is_err());
    assert!(cache.results.load("unknown").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn importing_twice_is_the_same_cache() {
    let bench = Bench::new();
    let dest = bench.path("cache");
    let layer = bench.layer("a", "a");
    bench
        .export(
            &[record("x", &[], &[&layer])],
            &[("dest", dest.to_str().unwrap())],
        )
        .await;
    let src = [("src", dest.to_str().unwrap())];
    let (one, two) = (
        bench.import(&src).await.cache.unwrap(),
        bench.import(&src).await.cache.unwrap(),
    );
    assert_eq!(one.id, two.id);
    assert_eq!(
        one.keys.result_ids().unwrap(),
        two.keys.result_ids().unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_and_digests() {
    let bench = Bench::new();
    let dest = bench.path("cache");
    let path = dest.to_str().unwrap();
    let (one, two) = (bench.layer("a", "one"), bench.layer("b", "two"));
    bench
        .export(&[record("x", &[], &[&one])], &[("dest", path)])
        .await;
    let exported = bench
        .export(
            &[record("y", &[], &[&two])],
            &[("dest", path), ("tag", "second")],
        )
        .await;
    let has = async |keys: &[(&str, &str)], name: &str| {
        let cache = bench.import(keys).await.cache.unwrap();
        cache.keys.exists(named(name).as_ref()).unwrap()
    };
    assert!(has(&[("src", path)], "x").await);
    assert!(has(&[("src", path), ("tag", "second")], "y").await);
    let descriptor: Value = serde_json::from_str(&exported.response["cache.manifest"]).unwrap();
    let digest = descriptor["digest"].as_str().unwrap();
    assert!(has(&[("src", path), ("digest", digest)], "y").await);
    // A tag moves, other tags stay.
    bench
        .export(&[record("z", &[], &[&two])], &[("dest", path)])
        .await;
    assert!(
        has(&[("src", path)], "z").await && has(&[("src", path), ("tag", "second")], "y").await
    );
    assert_eq!(
        read_json(&dest.join("index.json"))["manifests"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_removes_what_nothing_leads_to() {
    let bench = Bench::new();
    let dest = bench.path("cache");
    let path = dest.to_str().unwrap();
    let layers = [
        bench.layer("a", "one"),
        bench.layer("b", "two"),
        bench.layer("c", "three"),
    ];
    bench
        .export(&[record("x", &[], &[&layers[0]])], &[("dest", path)])
        .await;
    bench
        .export(
            &[record("y", &[], &[&layers[1]])],
            &[("dest", path), ("tag", "kept")],
        )
        .await;
    let count = || fs::read_dir(dest.join("blobs/sha256")).unwrap().count();
    assert_eq!(count(), 6);
    let exported = bench
        .export(
            &[record("z", &[], &[&layers[2]])],
            &[("dest", path), ("reset", "true")],
        )
        .await;
    assert_eq!(exported.warnings, Vec::<String>::new());
    assert_eq!(count(), 6);
    assert!(!blob(&dest, layers[0].descriptor.digest().as_ref()).exists());
    for name in ["latest", "kept"] {
        assert!(
            bench
                .import(&[("src", path), ("tag", name)])
                .await
                .cache
                .is_some(),
            "{name}"
        );
    }
}
