//! Images of a real registry.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use kiln_llb::platform::platform;
use kiln_registry::{Client, ClientOptions, Reference};
use kiln_session::Session;
use kiln_source::{ImageIdentifier, ImageSource, ResolveMode, SourceError};
use kiln_store::Ref;
use kiln_testkit::image::{Compression, Image, write_index};
use kiln_testkit::registry::Registry;
use kiln_testkit::rootfs;
use oci_spec::image::Platform;

use crate::{Fixture, unwatched};

fn amd64() -> Platform {
    platform("linux", "amd64", "")
}

fn source(fixture: &Fixture) -> ImageSource {
    ImageSource::new(
        fixture.store.clone(),
        Client::new(ClientOptions::default()).expect("client"),
    )
}

fn identifier(registry: &Registry, name: &str, platform: Platform) -> ImageIdentifier {
    let text = format!("{}/{name}", registry.host());
    ImageIdentifier::parse(&text, &BTreeMap::new(), platform).expect("identifier")
}

fn layer(fixture: &Fixture, name: &str, files: &[(&str, &str)]) -> std::path::PathBuf {
    let directory = fixture.directory(name);
    rootfs::files(&directory, files).expect("files");
    directory
}

fn read(fixture: &Fixture, snapshot: &Ref, path: &str) -> String {
    let mounted = fixture
        .store
        .mount(&snapshot.mounts().expect("mounts"))
        .expect("mount");
    std::fs::read_to_string(mounted.path().join(path)).expect("read")
}

#[tokio::test]
async fn an_image_is_pulled_when_its_files_are_needed() {
    let fixture = Fixture::new();
    let registry = Registry::start().expect("docker-registry");
    let image = Image::new()
        .layer(layer(&fixture, "one", &[("a", "1"), ("b", "1")]))
        .layer_as(layer(&fixture, "two", &[("b", "2")]), Compression::Zstd)
        .platform("linux/amd64");
    let manifest = registry.push_image(&image, "test/image:v1").expect("push");
    let wanted = identifier(&registry, "test/image:v1", amd64());
    let told = Arc::new(AtomicU64::new(0));
    let progress = {
        let told = Arc::clone(&told);
        Arc::new(move |_: &_, done| {
            told.fetch_max(done, Ordering::Relaxed);
        })
    };
    let opened = source(&fixture)
        .open(&wanted, &Session::empty(), progress)
        .await
        .expect("open");
    assert_eq!(opened.digest().as_ref(), manifest.digest);
    let blobs: Vec<_> = opened.layers().cloned().collect();
    assert_eq!(blobs.len(), 2);
    let snapshot = opened.snapshot().expect("snapshot").expect("layers");
    for blob in &blobs {
        assert!(
            !fixture
                .store
                .content()
                .exists(blob.digest())
                .expect("exists"),
            "nothing is pulled early"
        );
    }
    snapshot.materialize().await.expect("materialize");
    assert_eq!(
        (
            read(&fixture, &snapshot, "a"),
            read(&fixture, &snapshot, "b")
        ),
        ("1".into(), "2".into())
    );
    assert!(told.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn equal_layers_are_one() {
    let fixture = Fixture::new();
    let registry = Registry::start().expect("docker-registry");
    let image = Image::new()
        .layer(layer(&fixture, "one", &[("a", "1")]))
        .layer(layer(&fixture, "two", &[("b", "2")]))
        .platform("linux/amd64");
    let layout = fixture.directory("layout");
    image.write(&layout, "v1").expect("write");
    registry
        .push_layout(&layout, "v1", "test/one:v1")
        .expect("push");
    registry
        .push_layout(&layout, "v1", "test/two:v1")
        .expect("push");
    let source = source(&fixture);
    let open = async |name: &str, layer_limit| {
        let wanted = ImageIdentifier {
            layer_limit,
            ..identifier(&registry, name, amd64())
        };
        source
            .open(&wanted, &Session::empty(), unwatched())
            .await
            .expect("open")
    };
    let (one, two) = (
        open("test/one:v1", None).await,
        open("test/two:v1", None).await,
    );
    let limited = open("test/two:v1", Some(1)).await;
    let snapshot =
        |image: &kiln_source::Image| image.snapshot().expect("snapshot").expect("layers");
    let whole = snapshot(&one);
    assert_eq!(whole.id(), snapshot(&two).id());
    assert_eq!(whole.parents()[0].id(), snapshot(&limited).id());
    assert_eq!(one.cache_key(0), two.cache_key(0));
    assert_ne!(one.cache_key(0).key, limited.cache_key(0).key);
    assert_ne!(one.cache_key(1).key, limited.cache_key(1).key);
    assert!(limited.cache_key(0).more && !limited.cache_key(1).more);
}

#[tokio::test]
async fn the_platform_selects() {
    let fixture = Fixture::new();
    let registry = Registry::start().expect("docker-registry");
    let names = [
        "linux/amd64",
        "linux/386",
        "linux/arm64",
        "linux/arm/v6",
        "linux/arm/v7",
        "linux/s390x",
    ];
    let images: Vec<Image> = names
        .iter()
        .map(|name| {
            Image::new()
                .layer(layer(&fixture, name, &[("name", name)]))
                .platform(name)
        })
        .collect();
    let layout = fixture.directory("layout");
    let index = write_index(&layout, "v1", &images).expect("index");
    registry
        .push_layout(&layout, "v1", "test/image:v1")
        .expect("push");
    let source = source(&fixture);
    let chosen = async |os: &str, architecture: &str, variant: &str| {
        let wanted = identifier(
            &registry,
            "test/image:v1",
            platform(os, architecture, variant),
        );
        let opened = source.open(&wanted, &Session::empty(), unwatched()).await?;
        assert_eq!(opened.digest().as_ref(), index.digest);
        let config: serde_json::Value = serde_json::from_slice(opened.config()).expect("JSON");
        Ok::<_, SourceError>(format!(
            "{}/{}",
            config["architecture"].as_str().unwrap_or_default(),
            config["variant"].as_str().unwrap_or_default()
        ))
    };
    let cases = [
        (("amd64", ""), "amd64/"),
        (("amd64", "v3"), "amd64/"),
        (("386", ""), "386/"),
        (("arm64", "v8"), "arm64/"),
        (("arm", "v7"), "arm/v7"),
        (("arm", "v8"), "arm/v7"),
        (("arm", "v6"), "arm/v6"),
    ];
    for ((architecture, variant), expected) in cases {
        assert_eq!(
            chosen("linux", architecture, variant)
                .await
                .expect(architecture),
            expected
        );
    }
    let error = chosen("linux", "riscv64", "")
        .await
        .expect_err("nothing fits");
    assert_eq!(
        error.to_string(),
        format!(
            "no match for platform in manifest {}: not found (wanted linux/riscv64, it has: {})",
            index.digest,
            names.join(", ")
        )
    );
}

#[tokio::test]
async fn a_digest_that_is_here_is_asked_for_where_it_is_said_to_be() {
    let fixture = Fixture::new();
    let source = source(&fixture);
    let registry = Registry::start().expect("docker-registry");
    registry
        .push_rootfs(layer(&fixture, "one", &[("a", "1")]), "test/image:v1")
        .expect("push");
    let wanted = identifier(&registry, "test/image:v1", amd64());
    let resolved = source.resolve_config(&wanted, &Session::empty()).await;
    let resolved = resolved.expect("resolve");
    let at = |repository: &str| {
        let name = format!("{}/{repository}@{}", registry.host(), resolved.digest);
        ImageIdentifier::new(Reference::parse(&name).expect("reference"), amd64())
    };
    let again = source
        .resolve_config(&at("test/image"), &Session::empty())
        .await;
    assert_eq!(again.expect("resolve").digest, resolved.digest);
    // Who knows a digest may still not be allowed to read what it names.
    for mode in [ResolveMode::Default, ResolveMode::Local, ResolveMode::Pull] {
        let elsewhere = ImageIdentifier {
            resolve_mode: mode,
            ..at("test/other")
        };
        let refused = source.resolve_config(&elsewhere, &Session::empty()).await;
        refused.expect_err("another repository");
    }
}

#[tokio::test]
async fn images_of_this_store_by_mode() {
    let fixture = Fixture::new();
    let registry = Registry::start().expect("docker-registry");
    registry
        .push_rootfs(layer(&fixture, "one", &[("a", "1")]), "test/image:v1")
        .expect("push");
    registry
        .push_rootfs(layer(&fixture, "two", &[("a", "2")]), "test/image:v2")
        .expect("push");
    let plain = source(&fixture);
    let wanted = |name: &str, resolve_mode| ImageIdentifier {
        resolve_mode,
        ..identifier(&registry, name, amd64())
    };
    let first = plain
        .open(
            &wanted("test/image:v1", ResolveMode::Pull),
            &Session::empty(),
            unwatched(),
        )
        .await
        .expect("open");
    let (local, asked) = (first.manifest().clone(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&asked);
    let with_images = plain.clone().with_images(Arc::new(move |name: &Reference| {
        seen.lock()
            .expect("lock")
            .push(name.tag().unwrap_or_default().to_owned());
        Some(local.clone())
    }));
    let digest = async |name: &str, mode| {
        let resolved = with_images
            .resolve_config(&wanted(name, mode), &Session::empty())
            .await;
        resolved.map(|resolved| resolved.digest == *first.digest())
    };
    assert!(
        !digest("test/image:v2", ResolveMode::Default)
            .await
            .expect("the registry comes first")
    );
    assert!(
        digest("test/image:v2", ResolveMode::Local)
            .await
            .expect("the store comes first")
    );
    assert!(
        digest("test/image:none", ResolveMode::Default)
            .await
            .expect("the store comes second")
    );
    digest("test/image:none", ResolveMode::Pull)
        .await
        .expect_err("the store is not asked");
    assert_eq!(*asked.lock().expect("lock"), ["v2", "none"]);
}

#[tokio::test]
async fn demands_that_are_not_met() {
    let fixture = Fixture::new();
    let registry = Registry::start().expect("docker-registry");
    let manifest = registry
        .push_rootfs(layer(&fixture, "one", &[("a", "1")]), "test/image:v1")
        .expect("push");
    let source = source(&fixture);
    let name = format!("{}/test/image:v1", registry.host());
    let other = format!("sha256:{}", "0".repeat(64));
    let open = async |key: &str, value: &str| {
        let attributes = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let wanted = ImageIdentifier::parse(&name, &attributes, amd64())?;
        source
            .open(&wanted, &Session::empty(), unwatched())
            .await
            .map(drop)
    };
    open("image.checksum", &manifest.digest)
        .await
        .expect("the right checksum");
    let check = async |key: &str, value: &str, expected: String| {
        assert_eq!(open(key, value).await.expect_err(key).to_string(), expected);
    };
    check(
        "image.checksum",
        &other,
        format!(
            "image digest {} for {name} does not match expected checksum {other}",
            manifest.digest
        ),
    )
    .await;
    check(
        "image.layerlimit",
        "2",
        "layer limit 2 is greater than the number of layers in the image 1".into(),
    )
    .await;
    check("image.layerlimit", "0", "invalid layer limit \"0\"".into()).await;
    check(
        "image.recordtype",
        "odd",
        "invalid record type \"odd\"".into(),
    )
    .await;
}

#[tokio::test]
async fn a_layer_that_is_damaged_is_refused() {
    let fixture = Fixture::new();
    let registry = Registry::start().expect("docker-registry");
    registry
        .push_rootfs(layer(&fixture, "one", &[("a", "1")]), "test/image:v1")
        .expect("push");
    let wanted = identifier(&registry, "test/image:v1", amd64());
    let opened = source(&fixture)
        .open(&wanted, &Session::empty(), unwatched())
        .await
        .expect("open");
    let digest = opened
        .layers()
        .next()
        .expect("a layer")
        .digest()
        .digest()
        .to_owned();
    let blob = registry.storage().join(format!(
        "docker/registry/v2/blobs/sha256/{}/{digest}/data",
        &digest[..2]
    ));
    let mut bytes = std::fs::read(&blob).expect("read");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&blob, bytes).expect("write");
    let snapshot = opened.snapshot().expect("snapshot").expect("layers");
    let error = snapshot.materialize().await.expect_err("must fail");
    assert!(error.to_string().contains(&digest), "{error}");
}

#[tokio::test]
async fn an_artifact_is_no_image() {
    let fixture = Fixture::new();
    let registry = Registry::start().expect("docker-registry");
    let layout = fixture.directory("layout");
    let image = Image::new()
        .layer(layer(&fixture, "one", &[("a", "1")]))
        .platform("linux/amd64");
    image.write(&layout, "v1").expect("write");
    let index = std::fs::read_to_string(layout.join("index.json")).expect("read");
    let index: serde_json::Value = serde_json::from_str(&index).expect("JSON");
    let digest = index["manifests"][0]["digest"]
        .as_str()
        .expect("digest")
        .replace(':', "/");
    let manifest = std::fs::read_to_string(layout.join("blobs").join(digest)).expect("read");
    let odd = manifest.replace(
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/x-odd",
    );
    let odd = kiln_testkit::image::write_blob(&layout, odd.as_bytes()).expect("write");
    let text = serde_json::json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": odd.digest, "size": odd.size,
        "annotations": {"org.opencontainers.image.ref.name": "odd"},
    }]});
    std::fs::write(layout.join("index.json"), text.to_string()).expect("write");
    registry
        .push_layout(&layout, "odd", "test/odd:v1")
        .expect("push");
    let wanted = identifier(&registry, "test/odd:v1", amd64());
    let error = source(&fixture)
        .open(&wanted, &Session::empty(), unwatched())
        .await
        .map(drop)
        .expect_err("must fail");
    assert!(
        error
            .to_string()
            .contains("application/x-odd, which is not that of a filesystem layer"),
        "{error}"
    );
}
