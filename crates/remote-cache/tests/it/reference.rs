//! A cache that BuildKit (the one in Docker 28.5) exported, from a Dockerfile of one COPY and three RUN steps.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kiln_remote_cache::CacheLayer;
use kiln_solver::{ExportLink, ExportRecord, ExportResult};
use oci_spec::image::{Descriptor, MediaType};
use serde_json::Value;

use crate::fixture::{Bench, Record, blob, read_json};

fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/buildkit")
}

/// The manifest and the config of a cache in a directory.
fn read(directory: &Path) -> (Value, Value) {
    let index = read_json(&directory.join("index.json"));
    let manifest = read_json(&blob(
        directory,
        index["manifests"][0]["digest"].as_str().unwrap(),
    ));
    let config = read_json(&blob(
        directory,
        manifest["config"]["digest"].as_str().unwrap(),
    ));
    (manifest, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_result_can_be_used() {
    let bench = Bench::new();
    let imported = bench
        .import(&[("src", reference().to_str().unwrap())])
        .await;
    assert_eq!(imported.warnings, Vec::<String>::new());
    let cache = imported.cache.unwrap();
    let ids = cache.keys.result_ids().unwrap();
    let (_, config) = read(&reference());
    let with_results = config["records"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|record| record.get("layers").is_some());
    assert_eq!(ids.len(), with_results.count());
    for id in ids {
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

/// The records and layers of the reference, as the solver would give them, in another order.
fn records(bench: &Bench) -> Vec<Record> {
    let (manifest, config) = read(&reference());
    let parse = |value: &Value| {
        value
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .map(SystemTime::from)
            .unwrap()
    };
    let layers: BTreeMap<_, _> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| {
            let digest = layer["digest"].as_str().unwrap();
            let bytes = fs::read(blob(&reference(), digest)).unwrap();
            bench.store.content().put(&bytes).unwrap();
            let annotations = &layer["annotations"];
            let layer = CacheLayer {
                descriptor: Descriptor::new(
                    MediaType::ImageLayerGzip,
                    bytes.len() as u64,
                    digest.parse::<oci_spec::image::Digest>().unwrap(),
                ),
                diff_id: annotations["containerd.io/uncompressed"]
                    .as_str()
                    .unwrap()
                    .parse()
                    .unwrap(),
                created: Some(parse(&annotations["buildkit/createdat"])),
                description: String::new(),
            };
            (digest.to_owned(), layer)
        })
        .collect();
    let stack = |mut index: i64| {
        let mut stack = Vec::new();
        while index != -1 {
            let layer = &config["layers"][index as usize];
            stack.insert(0, layers[layer["blob"].as_str().unwrap()].clone());
            index = layer["parent"].as_i64().unwrap_or(0);
        }
        stack
    };
    let all = config["records"].as_array().unwrap();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let record = |record: &Value| ExportRecord {
        digest: record["digest"].as_str().unwrap().parse().unwrap(),
        inputs: list(&record["inputs"])
            .iter()
            .map(|links| {
                let link = |link: &Value| ExportLink {
                    record: all.len() - 1 - link["link"].as_u64().unwrap() as usize,
                    selector: link["selector"].as_str().unwrap_or_default().to_owned(),
                };
                list(links).iter().map(link).collect()
            })
            .collect(),
        results: list(&record["layers"])
            .iter()
            .map(|result| ExportResult {
                remote: stack(result["layer"].as_i64().unwrap()),
                created: parse(&result["createdAt"]),
                vertex: None,
                output: 0,
            })
            .collect(),
    };
    all.iter().rev().map(record).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_records_are_equal_bytes() {
    let bench = Bench::new();
    let dest = bench.path("cache");
    bench
        .export(&records(&bench), &[("dest", dest.to_str().unwrap())])
        .await;
    let names = |directory: &Path| {
        let entries = fs::read_dir(directory.join("blobs/sha256")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    // Every blob has its bytes' name: equal names are equal configs and manifests.
    assert_eq!(names(&dest), names(&reference()));
    let root = |directory: &Path| {
        read_json(&directory.join("index.json"))["manifests"][0]["digest"].clone()
    };
    assert_eq!(root(&dest), root(&reference()));
}
