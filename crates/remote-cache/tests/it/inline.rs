//! Caches inside of images.

use base64::Engine as _;
use kiln_remote_cache::inline_records;
use serde_json::{Value, json};

use crate::fixture::{Bench, chain, layout, named, put, record};

#[test]
fn records_speak_of_the_images_layers() {
    let bench = Bench::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| bench.layer(name, name));
    let mut records = chain(&a, &b);
    records.push(record("other", &[], &[&b]));
    records.push(record("foreign", &[], &[&c]));
    let image = [&a, &b].map(|layer| layer.descriptor.digest().clone());
    let bytes = inline_records(&records, &image).unwrap().unwrap();
    let found: Vec<Value> = serde_json::from_slice(&bytes).unwrap();
    let of = |name: &str| {
        found
            .iter()
            .find(|record| record["digest"] == named(name).to_string())
            .unwrap()
    };
    assert_eq!(of("copy")["layers"][0]["layer"], 0);
    assert_eq!(of("run")["layers"][0]["layer"], 1);
    assert_eq!(of("run")["layers"][0]["createdAt"], "2023-11-14T22:13:20Z");
    // A layer that is not on its image's own lower layers is told with all it consists of.
    assert_eq!(of("other")["chains"][0]["layers"], json!([1]));
    assert!(of("foreign").get("layers").is_none() && of("foreign").get("chains").is_none());
    assert_eq!(inline_records(&records, &[named("none")]).unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_in_a_directory_is_a_cache() {
    let (bench, other) = (Bench::new(), Bench::new());
    let (lower, upper) = (bench.layer("a", "lower"), bench.layer("b", "upper"));
    let image = [&lower, &upper].map(|layer| layer.descriptor.digest().clone());
    let records = inline_records(&chain(&lower, &upper), &image)
        .unwrap()
        .unwrap();
    let dir = bench.path("image");
    for layer in [&lower, &upper] {
        put(
            &dir,
            &bench
                .store
                .content()
                .read(layer.descriptor.digest(), 1 << 20)
                .unwrap(),
        );
    }
    let config = json!({
        "os": "linux", "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [lower.diff_id.to_string(), upper.diff_id.to_string()]},
        "history": [{"created_by": "COPY a", "created": "2021-01-01T00:00:00Z"}, {"empty_layer": true}, {"created_by": "RUN b"}],
        "moby.buildkit.cache.v0": base64::engine::general_purpose::STANDARD.encode(records),
    })
    .to_string();
    let listed = |layer: &kiln_remote_cache::CacheLayer| {
        json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": layer.descriptor.digest().to_string(),
            "size": layer.descriptor.size(),
        })
    };
    let manifest = json!({
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": put(&dir, config.as_bytes()), "size": config.len()},
        "layers": [listed(&lower), listed(&upper)],
    });
    layout(&dir, manifest.to_string().as_bytes());

    let imported = other.import(&[("src", dir.to_str().unwrap())]).await;
    assert_eq!(imported.warnings, Vec::<String>::new());
    let cache = imported.cache.unwrap();
    let ids = cache.keys.result_ids().unwrap();
    assert_eq!(ids.len(), 2);
    let mut tops = Vec::new();
    for id in ids {
        let reference = cache.results.load(&id).await.unwrap();
        reference.materialize().await.unwrap();
        tops.push(reference.layers().unwrap().pop().unwrap().description);
    }
    tops.sort();
    assert_eq!(tops, ["COPY a", "RUN b"]);
}
