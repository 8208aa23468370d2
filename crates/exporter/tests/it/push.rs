//! Images in the store, and pushed to a registry.

use std::sync::Arc;

use kiln_exporter::{ExportInput, Progress, Shape};
use kiln_registry::{Anonymous, Client, ClientOptions};
use kiln_testkit::registry::Registry;
use serde_json::{Value, json};

use crate::fixture::{Bench, config, result, run, single};

fn client() -> Client {
    Client::new(ClientOptions::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_the_store() {
    let bench = Bench::new();
    let input = single(Some(bench.two_layers()), config(&["a", "b"]));
    let keys = "image,name=app;other:1,name-canonical,dangling-name-prefix=none";
    let exported = bench.export(&input, keys, &bench.path("-")).await.unwrap();
    assert!(exported.push.is_none());
    let digest = exported.response["containerimage.digest"].clone();
    assert_eq!(
        exported.response["image.name"],
        format!("app,other:1,none@{digest}")
    );
    let names: Vec<_> = bench
        .store
        .images()
        .unwrap()
        .into_iter()
        .map(|image| image.name)
        .collect();
    let app = "docker.io/library/app:latest";
    let other = "docker.io/library/other:1";
    assert_eq!(
        names,
        [
            app.to_owned(),
            format!("{app}@{digest}"),
            format!("docker.io/library/none@{digest}"),
            other.to_owned(),
            format!("{other}@{digest}")
        ]
    );
    assert_eq!(
        bench
            .store
            .image(app)
            .unwrap()
            .unwrap()
            .target
            .digest()
            .to_string(),
        digest
    );

    let only = "image,dangling-name-prefix=none,dangling-name-empty-only=true,name=app,store=false";
    let exported = bench.export(&input, only, &bench.path("-")).await.unwrap();
    assert_eq!(exported.response["image.name"], "app");
}

#[tokio::test(flavor = "multi_thread")]
async fn pushed_images_are_read_by_skopeo() {
    let bench = Bench::new();
    let registry = Registry::start().unwrap();
    let host = registry.host();
    let reference = bench.two_layers();
    let input = ExportInput {
        platforms: ["linux/amd64", "linux/arm64"]
            .map(|name| result(name, Some(reference.clone()), config(&["a", "b"])))
            .into(),
        shape: Shape::Index,
        image_name: None,
        epoch: None,
    };
    let exported = bench
        .export(
            &input,
            &format!("image,push,name={host}/app:1;{host}/app:2"),
            &bench.path("-"),
        )
        .await
        .unwrap();
    let push = exported.push.unwrap();
    assert_eq!(push.names().len(), 2);
    push.run(&client(), Arc::new(Anonymous), &Progress::none())
        .await
        .unwrap();
    for tag in ["1", "2"] {
        let image = format!("docker://{host}/app:{tag}");
        let raw = run(
            "skopeo",
            &["inspect", "--tls-verify=false", "--raw", &image],
        );
        let index: Value = serde_json::from_str(&raw).unwrap();
        assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
        let copy = format!("dir:{}", bench.path(tag).display());
        run(
            "skopeo",
            &[
                "copy",
                "--insecure-policy",
                "--src-tls-verify=false",
                "--all",
                &image,
                &copy,
            ],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_digest_there_is_no_tag() {
    let bench = Bench::new();
    let registry = Registry::start().unwrap();
    let host = registry.host();
    let keys = format!("image,push,push-by-digest=true,name={host}/app,oci-mediatypes=false");
    let exported = bench
        .export(
            &single(Some(bench.two_layers()), config(&["a", "b"])),
            &keys,
            &bench.path("-"),
        )
        .await
        .unwrap();
    exported
        .push
        .unwrap()
        .run(&client(), Arc::new(Anonymous), &Progress::none())
        .await
        .unwrap();
    let digest = &exported.response["containerimage.digest"];
    run(
        "skopeo",
        &[
            "inspect",
            "--raw",
            "--tls-verify=false",
            &format!("docker://{host}/app@{digest}"),
        ],
    );
    let tags = registry
        .storage()
        .join("docker/registry/v2/repositories/app/_manifests/tags");
    assert!(!tags.exists() || std::fs::read_dir(tags).unwrap().count() == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_fails_names_the_image() {
    let bench = Bench::new();
    let keys = "image,push,name=127.0.0.1:1/app";
    let exported = bench
        .export(&single(None, json!({})), keys, &bench.path("-"))
        .await
        .unwrap();
    let error = exported
        .push
        .unwrap()
        .run(&client(), Arc::new(Anonymous), &Progress::none())
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("failed to push 127.0.0.1:1/app:latest: "),
        "{error}"
    );
}
