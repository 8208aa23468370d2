//! Layout directories: several images in one, also at once.

use std::fs;

use kiln_exporter::ExportError;
use serde_json::json;

use crate::fixture::{Bench, config, read_json, run, single, write};

#[tokio::test(flavor = "multi_thread")]
async fn images_are_added_and_names_move() {
    let bench = Bench::new();
    let dest = bench.path("layout");
    let one = single(Some(bench.two_layers()), config(&["a", "b"]));
    let two = single(
        Some(bench.layer(None, |dir| write(&dir.join("x"), "x", 0o644))),
        config(&["x"]),
    );
    let names = || -> Vec<String> {
        let index = read_json(&dest.join("index.json"));
        let entries = index["manifests"].as_array().unwrap();
        entries
            .iter()
            .map(|entry| {
                entry["annotations"]["org.opencontainers.image.ref.name"]
                    .as_str()
                    .unwrap()
                    .into()
            })
            .collect()
    };
    bench.export(&one, "oci,tar=false", &dest).await.unwrap();
    assert_eq!(names(), ["latest"]);
    bench
        .export(&one, "oci,tar=false,name=app:1;app:2", &dest)
        .await
        .unwrap();
    assert_eq!(names(), ["latest", "1", "2"]);
    let moved = bench
        .export(&two, "docker,tar=false,name=app:1", &dest)
        .await
        .unwrap();
    assert_eq!(names(), ["latest", "2", "1"]);
    let index = read_json(&dest.join("index.json"));
    assert_eq!(
        index["manifests"][2]["digest"],
        moved.response["containerimage.digest"].as_str()
    );
    assert_eq!(
        read_json(&dest.join("oci-layout")),
        json!({"imageLayoutVersion": "1.0.0"})
    );
    for tag in ["1", "2", "latest"] {
        run(
            "skopeo",
            &["inspect", &format!("oci:{}:{tag}", dest.display())],
        );
    }
    // Nothing is left beside the layout.
    let left: Vec<_> = fs::read_dir(&dest)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_lose_nothing() {
    let bench = Bench::new();
    let dest = bench.path("layout");
    let input = single(Some(bench.two_layers()), config(&["a", "b"]));
    let keys: Vec<_> = (0..12)
        .map(|number| format!("oci,tar=false,name=app:{number}"))
        .collect();
    let exports = keys.iter().map(|keys| bench.export(&input, keys, &dest));
    for outcome in futures::future::join_all(exports).await {
        outcome.unwrap();
    }
    assert_eq!(
        read_json(&dest.join("index.json"))["manifests"]
            .as_array()
            .unwrap()
            .len(),
        12
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_index_is_named_and_kept() {
    let bench = Bench::new();
    let dest = bench.path("layout");
    fs::create_dir(&dest).unwrap();
    fs::write(dest.join("index.json"), "{").unwrap();
    let error = bench
        .export(&single(None, json!({})), "oci,tar=false", &dest)
        .await
        .unwrap_err();
    assert!(
        matches!(
            &error,
            ExportError::File {
                action: "understand",
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("index.json"), "{error}");
    assert_eq!(fs::read_to_string(dest.join("index.json")).unwrap(), "{");
}
