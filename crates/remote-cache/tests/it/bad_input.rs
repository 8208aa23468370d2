//! Imports of what is broken, hostile or not there: a miss and a warning, nothing else.

use std::fs;

use rstest::rstest;
use serde_json::{Value, json};

use crate::fixture::{Bench, blob, chain, layout, named, put, record};

/// Imports a cache with this config, whose one layer is listed.
async fn import_config(
    config: Value,
) -> (Option<kiln_solver::Cache<kiln_store::Ref>>, Vec<String>) {
    let bench = Bench::new();
    let layer = bench.layer("a", "a");
    let dir = bench.path("cache");
    let text = config
        .to_string()
        .replace("LAYER", layer.descriptor.digest().as_ref());
    let config = put(&dir, text.as_bytes());
    let manifest = json!({
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.buildkit.cacheconfig.v0", "digest": config, "size": text.len()},
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": layer.descriptor.digest().to_string(),
            "size": layer.descriptor.size(),
            "annotations": {"containerd.io/uncompressed": layer.diff_id.to_string()},
        }],
    });
    layout(&dir, manifest.to_string().as_bytes());
    let imported = bench.import(&[("src", dir.to_str().unwrap())]).await;
    (imported.cache, imported.warnings)
}

fn digest() -> String {
    named("x").to_string()
}

#[rstest]
#[case(json!({"records": [{"digest": digest(), "inputs": [[{"link": 0}]]}]}), "invalid looping record")]
#[case(json!({"records": [{"digest": digest(), "inputs": [[{"link": 1}]]}, {"digest": digest(), "inputs": [[{"link": 0}]]}]}), "invalid looping record")]
#[case(json!({"records": [{"digest": digest(), "inputs": [[{"link": 7}]]}]}), "invalid record ID: 7")]
#[case(json!({"records": [{"digest": digest(), "inputs": [[{"link": -1}]]}]}), "invalid record ID: -1")]
#[case(json!({"records": [{"digest": digest(), "inputs": [[]]}]}), "invalid empty input for record 0")]
#[case(json!({"records": [{"digest": "nonsense"}]}), "record 0 has an invalid digest \"nonsense\"")]
#[case(json!({"records": [{"digest": digest()}, {"digest": digest(), "inputs": [[{"link": 0, "selector": "no"}]]}]}), "record 1 has an invalid selector \"no\"")]
#[case(json!({"records": [{"digest": digest(), "layers": [{"layer": 3}]}]}), "invalid layer index 3")]
#[case(json!({"records": [{"digest": digest(), "chains": [{"layers": [-2]}]}]}), "invalid layer index -2")]
#[case(json!({"layers": [{"blob": "LAYER", "parent": 0}], "records": [{"digest": digest(), "layers": [{"layer": 0}]}]}), "invalid looping layer")]
#[case(json!({"layers": [{"blob": "LAYER", "parent": 9}], "records": [{"digest": digest(), "layers": [{"layer": 0}]}]}), "invalid layer index 9")]
#[case(json!({"records": [{"digest": 5}]}), "invalid type: integer `5`")]
#[tokio::test]
async fn bad_configs(#[case] config: Value, #[case] reason: &str) {
    let (cache, warnings) = import_config(config).await;
    assert!(cache.is_none());
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].starts_with("cache import from /") && warnings[0].contains(reason),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn a_layer_that_is_not_listed_is_a_miss_alone() {
    let config = json!({
        "layers": [{"blob": "LAYER", "parent": -1}, {"blob": named("gone"), "parent": -1}],
        "records": [
            {"digest": named("x"), "layers": [{"layer": 0, "createdAt": "not a time"}]},
            {"digest": named("y"), "layers": [{"layer": 1}]},
        ],
    });
    let (cache, warnings) = import_config(config).await;
    assert_eq!(warnings, Vec::<String>::new());
    let keys = cache.unwrap().keys;
    assert_eq!(keys.results(named("x").as_ref()).unwrap().len(), 1);
    assert!(keys.results(named("y").as_ref()).unwrap().is_empty());
}

#[tokio::test]
async fn equal_records_are_one() {
    let config = json!({
        "layers": [{"blob": "LAYER", "parent": -1}],
        "records": [
            {"digest": named("x")},
            {"digest": named("x"), "chains": [{"layers": [0]}]},
            {"digest": named("y"), "inputs": [[{"link": 0}, {"link": 1}]]},
        ],
    });
    let keys = import_config(config).await.0.unwrap().keys;
    assert_eq!(keys.results(named("x").as_ref()).unwrap().len(), 1);
}

#[rstest]
#[case("rm -r cache", "No such file or directory")]
#[case("rm cache/index.json", "index.json: No such file or directory")]
#[case("echo '{' > cache/index.json", "understand")]
#[case(
    "echo '{\"schemaVersion\":2}' > cache/index.json",
    "no digest found for tag latest"
)]
#[case("rm MANIFEST", "No such file or directory")]
#[case("truncate -s 5 MANIFEST", "it is damaged")]
#[case("printf x >> MANIFEST", "it is damaged")]
#[case("truncate -s 100M MANIFEST", "it is larger than")]
#[case("rm CONFIG", "No such file or directory")]
#[case("truncate -s 5 CONFIG", "it is damaged")]
#[tokio::test]
async fn bad_directories(#[case] damage: &str, #[case] reason: &str) {
    let bench = Bench::new();
    let layer = bench.layer("a", "a");
    let dest = bench.path("cache");
    let exported = bench
        .export(
            &[record("x", &[], &[&layer])],
            &[("dest", dest.to_str().unwrap())],
        )
        .await;
    let descriptor: Value = serde_json::from_str(&exported.response["cache.manifest"]).unwrap();
    let manifest = blob(&dest, descriptor["digest"].as_str().unwrap());
    let config = crate::fixture::read_json(&manifest)["config"]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let damage = damage
        .replace("MANIFEST", manifest.to_str().unwrap())
        .replace("CONFIG", blob(&dest, &config).to_str().unwrap());
    crate::fixture::sh(bench.dir.path(), &format!("chmod -R u+w cache; {damage}"));
    let imported = bench.import(&[("src", dest.to_str().unwrap())]).await;
    assert!(imported.cache.is_none());
    assert!(
        imported.warnings.len() == 1 && imported.warnings[0].contains(reason),
        "{:?}",
        imported.warnings
    );
}

#[rstest]
#[case("rm LAYER")]
#[case("truncate -s 5 LAYER")]
#[tokio::test]
async fn layers_that_are_gone_do_not_exist(#[case] damage: &str) {
    let (bench, other) = (Bench::new(), Bench::new());
    let (lower, upper) = (bench.layer("a", "lower"), bench.layer("b", "upper"));
    let dest = bench.path("cache");
    bench
        .export(&chain(&lower, &upper), &[("dest", dest.to_str().unwrap())])
        .await;
    let path = blob(&dest, upper.descriptor.digest().as_ref());
    crate::fixture::sh(
        bench.dir.path(),
        &format!(
            "chmod u+w {0}; {1}",
            path.display(),
            damage.replace("LAYER", path.to_str().unwrap())
        ),
    );
    let cache = other
        .import(&[("src", dest.to_str().unwrap())])
        .await
        .cache
        .unwrap();
    let existing = cache
        .keys
        .result_ids()
        .unwrap()
        .into_iter()
        .filter(|id| cache.results.exists(id))
        .count();
    assert_eq!(existing, 1);
}

#[tokio::test]
async fn a_layer_of_other_content_is_refused_when_it_is_used() {
    let (bench, other) = (Bench::new(), Bench::new());
    let layer = bench.layer("a", "lower");
    let dest = bench.path("cache");
    bench
        .export(
            &[record("x", &[], &[&layer])],
            &[("dest", dest.to_str().unwrap())],
        )
        .await;
    let path = blob(&dest, layer.descriptor.digest().as_ref());
    fs::remove_file(&path).unwrap();
    fs::write(&path, vec![0; layer.descriptor.size() as usize]).unwrap();
    let cache = other
        .import(&[("src", dest.to_str().unwrap())])
        .await
        .cache
        .unwrap();
    let id = cache.keys.result_ids().unwrap().remove(0);
    let reference = cache.results.load(&id).await.unwrap();
    assert!(reference.materialize().await.is_err());
    assert!(
        !other
            .store
            .content()
            .exists(layer.descriptor.digest())
            .unwrap()
    );
}

#[tokio::test]
async fn many_records_are_read_in_no_time() {
    let count = 20_000;
    let mut records = vec![json!({"digest": named("0")})];
    for number in 1..count {
        records.push(json!({"digest": named(&number.to_string()), "inputs": [[{"link": number - 1}]], "layers": [{"layer": 0}]}));
    }
    let config = json!({"layers": [{"blob": "LAYER", "parent": -1}], "records": records});
    let keys = import_config(config).await.0.unwrap().keys;
    assert_eq!(keys.result_ids().unwrap().len(), 1);
}

#[tokio::test]
async fn an_image_without_a_cache_is_no_cache() {
    let bench = Bench::new();
    let dir = bench.path("image");
    let config = json!({"os": "linux", "rootfs": {"diff_ids": []}}).to_string();
    let digest = put(&dir, config.as_bytes());
    let manifest = json!({"config": {"mediaType": "x", "digest": digest, "size": config.len()}, "layers": [], "schemaVersion": 2});
    layout(&dir, manifest.to_string().as_bytes());
    let imported = bench.import(&[("src", dir.to_str().unwrap())]).await;
    assert!(imported.cache.is_none());
    assert!(
        imported.warnings[0].ends_with("it is neither a cache nor an image with an inline cache"),
        "{:?}",
        imported.warnings
    );
}
