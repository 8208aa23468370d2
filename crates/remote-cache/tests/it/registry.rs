//! Caches in a registry.

use kiln_registry::{Anonymous, Client, ClientOptions, Reference};
use kiln_remote_cache::{ExportOptions, ImportOptions, Place, export, import};
use kiln_testkit::registry::Registry;

use crate::fixture::{Bench, attributes, chain, named};

#[tokio::test(flavor = "multi_thread")]
async fn pushed_and_pulled() {
    let (bench, other) = (Bench::new(), Bench::new());
    let registry = Registry::start().unwrap();
    let name = format!("{}/team/cache:v1", registry.host());
    let client = Client::new(ClientOptions::default()).unwrap();
    let repository = client.repository(&Reference::parse(&name).unwrap(), Anonymous::shared());
    let (lower, upper) = (bench.layer("a", "lower"), bench.layer("b", "upper"));
    for format in ["true", "false"] {
        let keys = attributes(&[("ref", &name), ("mode", "max"), ("image-manifest", format)]);
        let options = ExportOptions::parse("registry", &keys).unwrap();
        let exported = export(
            &chain(&lower, &upper),
            &options,
            bench.store.content(),
            Some(&Place::Repository(repository.clone())),
        )
        .await
        .unwrap();
        assert!(exported.response.contains_key("cache.manifest"));
        let options = ImportOptions::parse("registry", &attributes(&[("ref", &name)])).unwrap();
        let imported = import(
            &options,
            &other.store,
            Some(Place::Repository(repository.clone())),
            |reference| reference,
        )
        .await;
        assert_eq!(imported.warnings, Vec::<String>::new());
        let cache = imported.cache.unwrap();
        assert!(cache.keys.exists(named("source").as_ref()).unwrap());
        for id in cache.keys.result_ids().unwrap() {
            cache
                .results
                .load(&id)
                .await
                .unwrap()
                .materialize()
                .await
                .unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_does_not_exist_is_a_miss() {
    let bench = Bench::new();
    let registry = Registry::start().unwrap();
    let name = format!("{}/none:v1", registry.host());
    let client = Client::new(ClientOptions::default()).unwrap();
    let repository = client.repository(&Reference::parse(&name).unwrap(), Anonymous::shared());
    let options = ImportOptions::parse("registry", &attributes(&[("ref", &name)])).unwrap();
    let imported = import(
        &options,
        &bench.store,
        Some(Place::Repository(repository)),
        |reference| reference,
    )
    .await;
    assert!(imported.cache.is_none());
    assert!(
        imported.warnings[0].starts_with(&format!("cache import from {name} skipped: ")),
        "{:?}",
        imported.warnings
    );
}
