//! Mirrors and what is behind them.

use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_registry::{Anonymous, Hosts, Reference, is_loopback};
use kiln_store::{Store, StoreOptions};
use rstest::rstest;

use crate::fake::{Fake, Reply};
use crate::{client, host_config, layer_of, noise, reference};

const MANIFEST: &[u8] = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;

/// `registry` with the mirror in front of it.
fn hosts(registry: &str, mirrors: &[&str]) -> Hosts {
    let config = host_config(|config| {
        config.mirrors = mirrors.iter().map(|&mirror| mirror.to_owned()).collect()
    });
    Hosts::from([(registry.to_owned(), config)])
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_told_for_whom() {
    let mirror = Fake::start(|_, _| Reply::manifest(MANIFEST)).await;
    let hosts = hosts("docker.io", &[&format!("{}/some/prefix/", mirror.host)]);
    let name = Reference::parse("alpine:3").expect("reference");
    client(hosts)
        .repository(&name, Anonymous::shared())
        .resolve(&name)
        .await
        .expect("resolve");
    assert_eq!(
        mirror.lines(),
        ["HEAD /v2/some/prefix/library/alpine/manifests/3?ns=docker.io"]
    );
}

#[rstest]
#[case::missing(404)]
#[case::broken(500)]
#[case::forbidden(403)]
#[tokio::test]
async fn behind_a_mirror_that_fails_comes_the_registry(#[case] status: u16) {
    let mirror = Fake::start(move |_, _| Reply::new(status)).await;
    let blob = noise(5000);
    let (layer, sent) = (layer_of(&blob), blob.clone());
    let registry = Fake::start(move |seen, _| match seen.path.contains("blobs") {
        true => Reply::ok(sent.clone()),
        false => Reply::manifest(MANIFEST),
    })
    .await;
    let name = reference(&registry.host, "test/image:v1");
    let repository =
        client(hosts(&registry.host, &[&mirror.host])).repository(&name, Anonymous::shared());
    let found = repository.resolve(&name).await.expect("resolve");
    assert_eq!(
        repository.manifest(&found).await.expect("manifest"),
        MANIFEST
    );
    assert_eq!(
        repository
            .blob(&layer)
            .next()
            .await
            .expect("blob")
            .as_deref(),
        Some(blob.as_slice())
    );
    assert!(
        registry.lines().iter().all(|line| !line.contains("ns=")),
        "{:?}",
        registry.lines()
    );
}

#[tokio::test]
async fn a_mirror_that_is_down_costs_one_attempt() {
    let registry = Fake::start(|_, _| Reply::manifest(MANIFEST)).await;
    let name = reference(&registry.host, "test/image:v1");
    // Port 1 answers nowhere.
    let repository =
        client(hosts(&registry.host, &["127.0.0.1:1"])).repository(&name, Anonymous::shared());
    repository.resolve(&name).await.expect("resolve");
}

#[tokio::test]
async fn the_answer_that_says_most_is_the_error() {
    let mirror = Fake::start(|_, _| Reply::not_found()).await;
    let name = reference("127.0.0.1:1", "test/image:v1");
    let repository =
        client(hosts("127.0.0.1:1", &[&mirror.host])).repository(&name, Anonymous::shared());
    let error = repository.resolve(&name).await.expect_err("must fail");
    assert_eq!(error.to_string(), "127.0.0.1:1/test/image:v1: not found");
}

#[tokio::test]
async fn wrong_content_of_a_mirror_is_passed_over() {
    let blob = noise(5000);
    let (layer, sent) = (layer_of(&blob), blob.clone());
    let mirror = Fake::start(|_, _| Reply::ok(vec![0; 5000])).await;
    let registry = Fake::start(move |_, _| Reply::ok(sent.clone())).await;
    let name = reference(&registry.host, "test/image:v1");
    let repository =
        client(hosts(&registry.host, &[&mirror.host])).repository(&name, Anonymous::shared());
    let dir = tempfile::tempdir().expect("directory");
    let store = Store::open(StoreOptions {
        root: dir.path().join("root"),
    })
    .expect("store");
    let _lease = store.lease().expect("lease");
    repository
        .fetch_blob(&layer, store.content(), &|_| {})
        .await
        .expect("fetch");
    assert_eq!(
        store.content().read(layer.digest(), 5000).expect("read"),
        blob
    );
}

#[tokio::test]
async fn pushes_go_past_mirrors() {
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let mirror = Fake::start(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        Reply::ok("")
    })
    .await;
    let registry = Fake::start(|_, _| Reply::ok("")).await;
    let name = reference(&registry.host, "test/image:v1");
    let repository =
        client(hosts(&registry.host, &[&mirror.host])).repository(&name, Anonymous::shared());
    assert!(
        repository
            .has_blob(layer_of(b"x").digest())
            .await
            .expect("answer")
    );
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[rstest]
#[case("localhost", true)]
#[case("localhost:5000", true)]
#[case("127.0.0.1", true)]
#[case("127.1.2.3:80", true)]
#[case("::1", true)]
#[case("[::1]:5000", true)]
#[case("[::1]", true)]
#[case("registry.localhost", false)]
#[case("10.0.0.1:5000", false)]
#[case("example.com", false)]
#[case("[2001:db8::1]:80", false)]
fn loopback(#[case] host: &str, #[case] expected: bool) {
    assert_eq!(is_loopback(host), expected);
}
