//! The bytes of exported caches.

use std::fs;

use rstest::rstest;
use serde_json::{Value, json};

use crate::fixture::{Bench, blob, chain, named, read_json, record};

#[tokio::test]
async fn config_and_manifest_are_exactly_these() {
    let bench = Bench::new();
    let (lower, upper) = (bench.layer("a", "lower"), bench.layer("b", "upper"));
    let dest = bench.path("cache");
    let exported = bench
        .export(
            &chain(&lower, &upper),
            &[("dest", dest.to_str().unwrap()), ("mode", "max")],
        )
        .await;
    let descriptor: Value = serde_json::from_str(&exported.response["cache.manifest"]).unwrap();
    let manifest_path = blob(&dest, descriptor["digest"].as_str().unwrap());
    let manifest = fs::read_to_string(&manifest_path).unwrap();
    let parsed: Value = serde_json::from_str(&manifest).unwrap();
    let config =
        fs::read_to_string(blob(&dest, parsed["config"]["digest"].as_str().unwrap())).unwrap();

    let (low, up) = (lower.descriptor.digest(), upper.descriptor.digest());
    // Sorted by digest: layers by their blobs, records by theirs.
    let low_first = low.as_ref() < up.as_ref();
    let layers = match low_first {
        true => format!("{{\"blob\":\"{low}\",\"parent\":-1}},{{\"blob\":\"{up}\"}}"),
        false => format!("{{\"blob\":\"{up}\",\"parent\":1}},{{\"blob\":\"{low}\",\"parent\":-1}}"),
    };
    let (low_index, up_index) = if low_first { (0, 1) } else { (1, 0) };
    let mut order = ["source", "copy", "run"];
    order.sort_by_key(|name| named(name).to_string());
    let place = |name: &str| order.iter().position(|other| *other == name).unwrap();
    let time = "2023-11-14T22:13:20Z";
    let records = order.map(|name| match name {
        "source" => format!("{{\"digest\":\"{}\"}}", named(name)),
        "copy" => format!(
            "{{\"layers\":[{{\"layer\":{low_index},\"createdAt\":\"{time}\"}}],\"digest\":\"{}\",\"inputs\":[[{{\"link\":{source}}},{{\"selector\":\"{}\",\"link\":{source}}}]]}}",
            named(name), named("selector"), source = place("source"),
        ),
        _ => format!(
            "{{\"layers\":[{{\"layer\":{up_index},\"createdAt\":\"{time}\"}}],\"digest\":\"{}\",\"inputs\":[[{{\"link\":{}}}]]}}",
            named(name), place("copy"),
        ),
    });
    assert_eq!(
        config,
        format!(
            "{{\"layers\":[{layers}],\"records\":[{}]}}",
            records.join(",")
        )
    );

    let listed = |layer: &kiln_remote_cache::CacheLayer| {
        format!(
            "{{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"{}\",\"size\":{},\"annotations\":{{\
             \"buildkit/createdat\":\"2020-09-13T12:26:40.25Z\",\"containerd.io/uncompressed\":\"{}\"}}}}",
            layer.descriptor.digest(),
            layer.descriptor.size(),
            layer.diff_id,
        )
    };
    let listed = if low_first {
        [listed(&lower), listed(&upper)]
    } else {
        [listed(&upper), listed(&lower)]
    };
    let expected = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{{\
         \"mediaType\":\"application/vnd.buildkit.cacheconfig.v0\",\"digest\":\"{}\",\"size\":{}}},\"layers\":[{}]}}",
        parsed["config"]["digest"].as_str().unwrap(),
        config.len(),
        listed.join(","),
    );
    assert_eq!(manifest, expected);
    let index = read_json(&dest.join("index.json"));
    assert_eq!(
        index["manifests"][0]["annotations"],
        json!({"org.opencontainers.image.ref.name": "latest"})
    );
    assert_eq!(index["manifests"][0]["digest"], descriptor["digest"]);
    assert_eq!(
        read_json(&dest.join("oci-layout"))["imageLayoutVersion"],
        "1.0.0"
    );
}

#[rstest]
#[case(&[("image-manifest", "false")], "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip")]
#[case(&[("oci-mediatypes", "false")], "application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.image.rootfs.diff.tar.gzip")]
#[tokio::test]
async fn index_forms(
    #[case] keys: &[(&str, &str)],
    #[case] manifest_type: &str,
    #[case] layer_type: &str,
) {
    let bench = Bench::new();
    let dest = bench.path("cache");
    let layer = bench.layer("a", "a");
    let mut all = vec![("dest", dest.to_str().unwrap())];
    all.extend_from_slice(keys);
    let exported = bench.export(&[record("x", &[], &[&layer])], &all).await;
    let descriptor: Value = serde_json::from_str(&exported.response["cache.manifest"]).unwrap();
    assert_eq!(descriptor["mediaType"], manifest_type);
    let manifest = read_json(&blob(&dest, descriptor["digest"].as_str().unwrap()));
    assert_eq!(manifest["mediaType"], manifest_type);
    assert_eq!(manifest["manifests"][0]["mediaType"], layer_type);
    assert_eq!(
        manifest["manifests"][1]["mediaType"],
        "application/vnd.buildkit.cacheconfig.v0"
    );
}

#[tokio::test]
async fn the_order_of_records_does_not_matter() {
    let bench = Bench::new();
    let layers = [
        bench.layer("a", "a"),
        bench.layer("b", "b"),
        bench.layer("c", "c"),
    ];
    // Two records of one digest that differ in what they follow from.
    let records = vec![
        record("source", &[], &[]),
        record("other", &[], &[&layers[2]]),
        record("same", &[&[(0, "s")]], &[&layers[0]]),
        record("same", &[&[(1, "")]], &[&layers[2], &layers[0]]),
        record(
            "join",
            &[&[(2, ""), (3, "")], &[(1, "t")]],
            &[&layers[0], &layers[1]],
        ),
    ];
    let (one, other) = (bench.path("one"), bench.path("other"));
    let exported = bench
        .export(&records, &[("dest", one.to_str().unwrap())])
        .await;
    let mut turned: Vec<_> = records.iter().rev().cloned().collect();
    for record in &mut turned {
        for links in &mut record.inputs {
            links.reverse();
            for link in links {
                link.record = records.len() - 1 - link.record;
            }
        }
    }
    let again = bench
        .export(&turned, &[("dest", other.to_str().unwrap())])
        .await;
    assert_eq!(exported.response, again.response);
}

#[tokio::test]
async fn results_without_their_blobs_are_left_out() {
    let bench = Bench::new();
    let (lower, upper) = (bench.layer("a", "lower"), bench.layer("b", "upper"));
    fs::remove_file(bench.store.content().path(upper.descriptor.digest())).unwrap();
    let dest = bench.path("cache");
    let exported = bench
        .export(&chain(&lower, &upper), &[("dest", dest.to_str().unwrap())])
        .await;
    let descriptor: Value = serde_json::from_str(&exported.response["cache.manifest"]).unwrap();
    let manifest = read_json(&blob(&dest, descriptor["digest"].as_str().unwrap()));
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);

    fs::remove_file(bench.store.content().path(lower.descriptor.digest())).unwrap();
    let empty = bench.path("empty");
    let exported = bench
        .export(&chain(&lower, &upper), &[("dest", empty.to_str().unwrap())])
        .await;
    assert!(exported.response.is_empty() && !empty.exists());
    assert_eq!(
        exported.warnings,
        ["skipping cache export for empty result: no cached step has layers"]
    );
}
