//! Images in the store, and pushed to a registry.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use kiln_exporter::{ExportInput, Progress, ProgressEvent, Shape};
use kiln_registry::{Anonymous, Client, ClientOptions, Reference, Repository};
use kiln_store::refs::{Fetch, FetchError, LazyLayer};
use kiln_store::{RecordType, Ref, Store};
use kiln_testkit::faults::{FaultyProxy, Schedule};
use kiln_testkit::registry::Registry;
use oci_spec::image::{Descriptor, Digest, ImageManifest, MediaType};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::fixture::{Bench, config, result, run, single};

pub(crate) fn client() -> Client {
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

/// Layers of an image in a registry, which count how often they are fetched.
struct Pulled {
    repository: Repository,
    store: Store,
    count: Arc<AtomicUsize>,
}

#[async_trait::async_trait]
impl Fetch for Pulled {
    async fn fetch(&self, blob: &Descriptor) -> Result<(), FetchError> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let content = self.store.content();
        self.repository.fetch_blob(blob, content, &|_| {}).await?;
        Ok(())
    }
}

/// The layers of `name` on top of each other, not fetched yet.
async fn lazily(bench: &Bench, name: &str, diff_ids: &[Digest]) -> (Ref, Arc<AtomicUsize>) {
    let name = Reference::parse(name).unwrap();
    let repository = client().repository(&name, Anonymous::shared());
    let root = repository.resolve(&name).await.unwrap();
    let manifest = repository.manifest(&root).await.unwrap();
    let manifest: ImageManifest = serde_json::from_slice(&manifest).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let fetch = Arc::new(Pulled {
        repository,
        store: bench.store.clone(),
        count: count.clone(),
    });
    let mut current: Option<Ref> = None;
    for (blob, diff_id) in manifest.layers().iter().zip(diff_ids) {
        let layer = LazyLayer {
            descriptor: blob.clone(),
            diff_id: diff_id.clone(),
            fetch: fetch.clone(),
            description: "pulled".into(),
            record_type: RecordType::Regular,
            created: None,
        };
        let layer = bench.store.layer(current.as_ref(), layer).unwrap();
        layer.add_origin(&name.name()).unwrap();
        current = Some(layer);
    }
    (current.unwrap(), count)
}

pub(crate) async fn push(bench: &Bench, input: &ExportInput, keys: &str) -> Result<String, String> {
    let exported = bench.export(input, keys, &bench.path("-")).await.unwrap();
    let digest = exported.response["containerimage.digest"].clone();
    let push = exported.push.unwrap();
    push.run(&client(), Arc::new(Anonymous), &Progress::none())
        .await
        .map_err(|error| error.to_string())?;
    Ok(digest)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untouched_base_is_mounted_and_not_pulled() {
    let (home, other) = (Registry::start().unwrap(), Registry::start().unwrap());
    let maker = Bench::new();
    let reference = maker.two_layers();
    let input = single(Some(reference.clone()), config(&["a", "b"]));
    let base = format!("{}/base/image:1", home.host());
    push(&maker, &input, &format!("image,push,name={base}"))
        .await
        .unwrap();
    let diff_ids: Vec<_> = reference
        .layers()
        .unwrap()
        .into_iter()
        .map(|layer| layer.diff_id.unwrap())
        .collect();

    let bench = Bench::new();
    let (lazy, count) = lazily(&bench, &base, &diff_ids).await;
    let input = single(Some(lazy.clone()), config(&["a", "b"]));
    let blobs: Vec<_> = lazy
        .layers()
        .unwrap()
        .into_iter()
        .flat_map(|layer| layer.blobs)
        .collect();
    let app = format!("{}/app:1", home.host());
    let digest = push(&bench, &input, &format!("image,push,name={app}"))
        .await
        .unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 0, "nothing is fetched");
    for blob in &blobs {
        assert!(!bench.store.content().exists(blob.digest()).unwrap());
    }
    copy_of(&bench, &app, &digest);

    // Another registry needs the bytes, but not the files.
    let app = format!("{}/app:1", other.host());
    let digest = push(&bench, &input, &format!("image,push,name={app}"))
        .await
        .unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 2);
    assert!(lazy.is_lazy().unwrap());
    copy_of(&bench, &app, &digest);
}

/// Copies an image with all its blobs, which skopeo verifies.
pub(crate) fn copy_of(bench: &Bench, name: &str, digest: &str) {
    let copy = bench.path(&name.replace(['/', ':'], "-"));
    let (source, target) = (
        format!("docker://{name}"),
        format!("dir:{}", copy.display()),
    );
    let arguments = [
        "copy",
        "--insecure-policy",
        "--src-tls-verify=false",
        &source,
        &target,
    ];
    run("skopeo", &arguments);
    let manifest = std::fs::read(copy.join("manifest.json")).unwrap();
    assert_eq!(
        format!("sha256:{}", hex::encode(Sha256::digest(manifest))),
        digest
    );
}

/// One upload for each registry and blob, whatever the number of names.
#[tokio::test(flavor = "multi_thread")]
async fn several_names_share_the_uploads() {
    let (one, two) = (Registry::start().unwrap(), Registry::start().unwrap());
    let calm = Schedule {
        one_in: u64::MAX,
        seed: 0,
    };
    let watched = FaultyProxy::start(&one.host(), calm).unwrap();
    let bench = Bench::new();
    let input = single(Some(bench.two_layers()), config(&["a", "b"]));
    let names = ["app:1", "app:2", "copy:1"].map(|name| format!("{}/{name}", watched.host()));
    let names = format!("{};{}/app:1", names.join(";"), two.host());
    let digest = push(&bench, &input, &format!("image,push,name={names}"))
        .await
        .unwrap();
    for name in ["app:1", "app:2", "copy:1"] {
        copy_of(&bench, &format!("{}/{name}", one.host()), &digest);
    }
    copy_of(&bench, &format!("{}/app:1", two.host()), &digest);
    let lines = watched.lines();
    let count = |start: &str, part: &str| {
        let matching = lines
            .iter()
            .filter(|line| line.starts_with(start) && line.contains(part));
        matching.count()
    };
    assert_eq!(
        count("PUT", "/blobs/uploads/"),
        3,
        "two layers and a config: {lines:?}"
    );
    assert_eq!(count("POST", "mount="), 3, "{lines:?}");
    let last = lines
        .iter()
        .rposition(|line| !line.contains("/manifests/"))
        .unwrap();
    let first = lines
        .iter()
        .position(|line| line.starts_with("PUT") && line.contains("/manifests/"));
    assert!(first.unwrap() > last, "names come last: {lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_is_given_unless_all_can_be() {
    let registry = Registry::start().unwrap();
    let bench = Bench::new();
    let input = single(Some(bench.two_layers()), config(&["a", "b"]));
    let keys = format!(
        "image,push,name={}/app:1;127.0.0.1:1/app:1",
        registry.host()
    );
    let error = push(&bench, &input, &keys).await.unwrap_err();
    assert!(
        error.starts_with("failed to push 127.0.0.1:1/app:1: "),
        "{error}"
    );
    let tags = "docker/registry/v2/repositories/app/_manifests/tags";
    assert!(!registry.storage().join(tags).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_in_bytes() {
    let registry = Registry::start().unwrap();
    let bench = Bench::new();
    let input = single(Some(bench.two_layers()), config(&["a", "b"]));
    let keys = format!("image,push,name={}/app:1", registry.host());
    let exported = bench.export(&input, &keys, &bench.path("-")).await.unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let listen = events.clone();
    let progress = Progress::new(move |event| listen.lock().unwrap().push(event));
    let push = exported.push.unwrap();
    push.run(&client(), Arc::new(Anonymous), &progress)
        .await
        .unwrap();
    let events = events.lock().unwrap();
    let last = events.iter().rev().find_map(|event| match event {
        ProgressEvent::Advanced {
            name,
            current,
            total,
        } if name == "pushing layers" => Some((*current, total.unwrap())),
        _ => None,
    });
    let (current, total) = last.unwrap();
    assert!(current == total && total > 500, "{current} of {total}");
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_with_an_address_may_stay_there() {
    let registry = Registry::start().unwrap();
    let bench = Bench::new();
    let own = bench.two_layers();
    let input = single(Some(own.clone()), config(&["a", "b"]));
    let base = format!("{}/base:1", registry.host());
    push(&bench, &input, &format!("image,push,name={base}"))
        .await
        .unwrap();

    let layers = own.layers().unwrap();
    let store = Bench::new();
    let mut current: Option<Ref> = None;
    for layer in &layers {
        let mut blob = layer.blobs[0].clone();
        blob.set_media_type(MediaType::ImageLayerNonDistributableGzip);
        blob.set_urls(Some(vec!["https://files.example/layer".into()]));
        let lazy = LazyLayer {
            descriptor: blob,
            diff_id: layer.diff_id.clone().unwrap(),
            fetch: Arc::new(Pulled {
                repository: client()
                    .repository(&Reference::parse(&base).unwrap(), Anonymous::shared()),
                store: store.store.clone(),
                count: Arc::default(),
            }),
            description: "pulled".into(),
            record_type: RecordType::Regular,
            created: None,
        };
        current = Some(store.store.layer(current.as_ref(), lazy).unwrap());
    }
    let input = single(current, config(&["a", "b"]));
    for (keys, kind, urls) in [
        (
            "",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            Value::Null,
        ),
        (
            ",prefer-nondist-layers=true",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            json!(["https://files.example/layer"]),
        ),
        (
            ",prefer-nondist-layers,oci-mediatypes=false",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            json!(["https://files.example/layer"]),
        ),
    ] {
        let name = format!("{}/app:1", registry.host());
        push(&store, &input, &format!("image,push,name={name}{keys}"))
            .await
            .unwrap();
        let image = format!("docker://{name}");
        let raw = run(
            "skopeo",
            &["inspect", "--tls-verify=false", "--raw", &image],
        );
        let manifest: Value = serde_json::from_str(&raw).unwrap();
        for layer in manifest["layers"].as_array().unwrap() {
            assert_eq!(layer["mediaType"], kind);
            assert_eq!(layer["urls"], urls);
        }
    }
}
