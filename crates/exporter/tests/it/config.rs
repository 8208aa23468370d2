//! Image configs and manifests: exactly the bytes the field writes.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use kiln_exporter::{ExportInput, Shape};
use kiln_store::Ref;
use rstest::rstest;
use serde_json::{Value, json};

use crate::fixture::{Bench, blob, config, read_json, result, single};

/// Exports to a layout and answers the manifest's and the config's text.
async fn texts(bench: &Bench, input: &ExportInput, keys: &str) -> (String, String) {
    let dest = bench.path("layout");
    let exported = bench
        .export(input, &format!("oci,tar=false{keys}"), &dest)
        .await
        .unwrap();
    let manifest =
        fs::read_to_string(blob(&dest, &exported.response["containerimage.digest"])).unwrap();
    let parsed: Value = serde_json::from_str(&manifest).unwrap();
    let config =
        fs::read_to_string(blob(&dest, parsed["config"]["digest"].as_str().unwrap())).unwrap();
    (manifest, config)
}

fn diff_ids(config: &str) -> Vec<String> {
    let parsed: Value = serde_json::from_str(config).unwrap();
    let ids = parsed["rootfs"]["diff_ids"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    ids.iter()
        .map(|id| id.as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_keep_their_text_and_html_is_escaped() {
    let bench = Bench::new();
    let raw = "{ \"os\":\"linux\", \"architecture\":\"amd64\",\n \"zebra\": [1.50, \"<&>\"],\n \"config\": {\"B\":1,  \"A\":\"x y\"},\
               \"created\":\"2020-02-03T04:05:06.7000Z\", \"author\":\"é\" }";
    let mut input = single(None, json!({}));
    input.platforms[0].image_config = Some(Bytes::from(raw));
    let (manifest, config) = texts(&bench, &input, "").await;
    assert_eq!(
        config,
        "{\"architecture\":\"amd64\",\"author\":\"é\",\"config\":{\"B\":1,\"A\":\"x y\"},\
         \"created\":\"2020-02-03T04:05:06.7000Z\",\"history\":null,\"os\":\"linux\",\
         \"rootfs\":{\"type\":\"layers\",\"diff_ids\":null},\"zebra\":[1.50,\"\\u003c\\u0026\\u003e\"]}"
    );
    let digest = &read_json(&bench.path("layout/index.json"))["manifests"][0]["digest"];
    assert!(blob(&bench.path("layout"), digest.as_str().unwrap()).exists());
    assert!(manifest.starts_with("{\n  \"schemaVersion\": 2,\n  \"mediaType\": \"application/vnd.oci.image.manifest.v1+json\",\n  \"config\": {\n    \"mediaType\": \"application/vnd.oci.image.config.v1+json\",\n    \"digest\": \"sha256:"), "{manifest}");
    assert!(
        manifest.ends_with("\n  },\n  \"layers\": null\n}"),
        "{manifest}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_config_gets_a_minimal_one() {
    let bench = Bench::new();
    let mut input = single(None, json!({}));
    input.platforms[0].image_config = None;
    let (_, config) = texts(&bench, &input, "").await;
    assert_eq!(
        config,
        "{\"architecture\":\"amd64\",\"config\":{\"Env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"],\
         \"WorkingDir\":\"/\"},\"created\":null,\"history\":null,\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":null}}"
    );
}

/// History entries as `created created_by [empty] [comment]`, for comparison at a glance.
fn history(config: &str) -> Vec<String> {
    let parsed: Value = serde_json::from_str(config).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let entries = parsed["history"].as_array().unwrap();
    entries
        .iter()
        .map(|entry| {
            let empty = if entry["empty_layer"] == true {
                " empty"
            } else {
                ""
            };
            let comment = entry["comment"]
                .as_str()
                .map_or(String::new(), |comment| format!(" ({comment})"));
            format!(
                "{} {}{empty}{comment}",
                text(&entry["created"]),
                text(&entry["created_by"])
            )
        })
        .collect()
}

const MADE: &str = "2020-09-13T12:26:40Z";

#[rstest]
// Layers give their times to their entries, and those to the empty ones after them.
#[case(&["COPY a", "-ENV b", "RUN c", "-CMD d"], vec![
    format!("{MADE} COPY a"), format!("{MADE} ENV b empty"), format!("{MADE} RUN c"), format!("{MADE} CMD d empty"),
])]
// Layers without an entry get one that tells what made them.
#[case(&["COPY a"], vec![
    format!("{MADE} COPY a"), format!("{MADE} made for a test (buildkit.exporter.image.v0)"),
])]
// Entries without a layer become empty ones, from the bottom.
#[case(&["COPY a", "RUN b", "RUN c"], vec![
    format!("{MADE} COPY a"), format!("{MADE} RUN b"), format!("{MADE} RUN c empty"),
])]
#[tokio::test(flavor = "multi_thread")]
async fn history_fits_the_layers(#[case] entries: &[&str], #[case] expected: Vec<String>) {
    let bench = Bench::new();
    let (_, text) = texts(
        &bench,
        &single(Some(bench.two_layers()), config(entries)),
        "",
    )
    .await;
    assert_eq!(history(&text), expected);
    assert_eq!(diff_ids(&text).len(), 2);
    assert!(text.contains(&format!("\"created\":\"{MADE}\"")));
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_after_a_base_image_are_as_old_as_the_first_new_layer() {
    let bench = Bench::new();
    let mut image = config(&["base", "-ENV new", "RUN new"]);
    image["history"][0]["created"] = json!("2001-01-01T00:00:00+01:00");
    let (_, text) = texts(&bench, &single(Some(bench.two_layers()), image), "").await;
    assert_eq!(
        history(&text),
        [
            "2001-01-01T00:00:00+01:00 base".to_owned(),
            format!("{MADE} ENV new empty"),
            format!("{MADE} RUN new")
        ]
    );
}

/// An image whose lower layer, with its history, is that of a base image.
async fn with_base(bench: &Bench, reference: &Ref) -> ExportInput {
    let mut image = config(&["base", "RUN new"]);
    image["history"][0]["created"] = json!("2019-01-01T00:00:00Z");
    let input = single(Some(reference.clone()), image.clone());
    let (_, text) = texts(bench, &input, "").await;
    let base =
        json!({"history": [image["history"][0]], "rootfs": {"diff_ids": [diff_ids(&text)[0]]}});
    let mut input = single(Some(reference.clone()), image);
    input.platforms[0].base_config = Some(Bytes::from(base.to_string()));
    input.epoch = Some(1_000_000_000);
    input
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_clamps_what_is_new() {
    let bench = Bench::new();
    let input = with_base(&bench, &bench.two_layers()).await;
    let (_, text) = texts(&bench, &input, "").await;
    assert_eq!(
        history(&text),
        ["2019-01-01T00:00:00Z base", "2001-09-09T01:46:40Z RUN new"]
    );
    assert!(
        text.contains("\"created\":\"2001-09-09T01:46:40Z\""),
        "{text}"
    );
    let (_, off) = texts(&bench, &input, ",source-date-epoch=").await;
    assert_eq!(history(&off)[1], format!("{MADE} RUN new"));
    let (_, other) = texts(&bench, &input, ",source-date-epoch=1").await;
    assert_eq!(history(&other)[1], "1970-01-01T00:00:01Z RUN new");
}

#[tokio::test(flavor = "multi_thread")]
async fn rewriting_timestamps_leaves_the_base_alone() {
    let bench = Bench::new();
    let reference = bench.two_layers();
    let input = with_base(&bench, &reference).await;
    let (_, plain) = texts(&bench, &input, "").await;
    let (manifest, rewritten) = texts(&bench, &input, ",rewrite-timestamp=true").await;
    let (_, again) = texts(&bench, &input, ",rewrite-timestamp=true").await;
    assert_eq!(diff_ids(&plain)[0], diff_ids(&rewritten)[0]);
    assert_ne!(diff_ids(&plain)[1], diff_ids(&rewritten)[1]);
    assert_eq!(rewritten, again);
    let layers: Value = serde_json::from_str::<Value>(&manifest).unwrap()["layers"].take();
    assert!(layers[0].get("annotations").is_none());
    assert_eq!(
        layers[1]["annotations"],
        json!({"buildkit/rewritten-timestamp": "1000000000"})
    );
    // And what is exported without it afterwards is as before.
    assert_eq!(texts(&bench, &input, "").await.1, plain);
}

#[rstest]
#[case(json!({"architecture": "", "os": "linux"}), "invalid image config for export: missing architecture")]
#[case(json!({"architecture": "amd64", "os": ""}), "invalid image config for export: missing os")]
#[tokio::test(flavor = "multi_thread")]
async fn bad_configs(#[case] image: Value, #[case] expected: &str) {
    let bench = Bench::new();
    let error = bench
        .export(&single(None, image), "oci", &bench.path("out"))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_lists_its_platforms_and_annotations() {
    let bench = Bench::new();
    let reference = bench.two_layers();
    let platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7"];
    let input = ExportInput {
        platforms: platforms
            .map(|name| result(name, Some(reference.clone()), config(&["a", "b"])))
            .into(),
        shape: Shape::Index,
        image_name: None,
        epoch: None,
    };
    let keys = ",annotation-index.i=1,annotation-index-descriptor.d=2,annotation[linux/arm64].m=3,\
                annotation-manifest-descriptor.n=4,annotation.all=<5>";
    let dest = bench.path("layout");
    let exported = bench
        .export(&input, &format!("oci,tar=false{keys}"), &dest)
        .await
        .unwrap();
    assert!(
        !exported
            .response
            .contains_key("containerimage.config.digest")
    );
    let root = &read_json(&dest.join("index.json"))["manifests"][0];
    assert_eq!(root["annotations"]["d"], "2");
    assert_eq!(
        root["annotations"]["org.opencontainers.image.created"],
        MADE
    );
    let index = read_json(&blob(
        &dest,
        exported.response["containerimage.digest"].as_str(),
    ));
    assert_eq!(
        index["mediaType"],
        "application/vnd.oci.image.index.v1+json"
    );
    assert_eq!(index["annotations"], json!({"i": "1"}));
    let manifests = index["manifests"].as_array().unwrap();
    assert_eq!(
        manifests[2]["platform"],
        json!({"architecture": "arm", "os": "linux", "variant": "v7"})
    );
    for (number, manifest) in manifests.iter().enumerate() {
        assert_eq!(manifest["annotations"], json!({"n": "4"}));
        let text = fs::read_to_string(blob(Path::new(&dest), manifest["digest"].as_str().unwrap()))
            .unwrap();
        assert!(text.contains("\"all\": \"\\u003c5\\u003e\""), "{text}");
        assert_eq!(text.contains("\"m\": \"3\""), number == 1);
    }
}

#[rstest]
#[case(
    "oci,annotation-index.a=b",
    "index annotations not supported for single platform export"
)]
#[case(
    "oci,annotation[linux/s390x].a=b",
    "invalid annotation: no platform linux/s390x found in source"
)]
#[case(
    "docker,oci-mediatypes=false,annotation-manifest-descriptor.a=b",
    "cannot export annotations with \"oci-mediatypes=false\""
)]
#[tokio::test(flavor = "multi_thread")]
async fn annotations_that_do_not_fit(#[case] keys: &str, #[case] expected: &str) {
    let bench = Bench::new();
    let error = bench
        .export(&single(None, json!({})), keys, &bench.path("out"))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), expected);
}
