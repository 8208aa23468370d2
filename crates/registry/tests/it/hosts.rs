//! Registries that are reached as a `hosts.toml` says, and by addresses of every form.

use kiln_registry::{
    Anonymous, BlobData, Capabilities, Capability, Certificates, EndpointScheme, HostConfig,
    HostEndpoint, Hosts, Repository,
};

use crate::fake::{Fake, Reply};
use crate::{client, layer_of, manifest_of, reference};

fn place(fake: &Fake, path: &str, capabilities: Capabilities) -> HostEndpoint {
    HostEndpoint {
        scheme: EndpointScheme::Http,
        host: fake.host.clone(),
        path: path.to_owned(),
        capabilities,
        headers: vec![("x-team".to_owned(), "kiln".to_owned())],
        certificates: Certificates::Verified,
        ca: Vec::new(),
        keypairs: Vec::new(),
    }
}

fn repository(key: &str, endpoints: Vec<HostEndpoint>) -> Repository {
    let config = HostConfig {
        endpoints,
        ..HostConfig::default()
    };
    let hosts = Hosts::from([(key.to_owned(), config)]);
    client(hosts).repository(
        &reference("registry.test", "test/image"),
        Anonymous::shared(),
    )
}

#[tokio::test]
async fn each_place_is_asked_for_what_it_can_do() {
    const MANIFEST: &[u8] = b"{}";
    let mirror = Fake::start(|_, _| Reply::manifest(MANIFEST)).await;
    let target = Fake::start(|seen, _| match seen.method.as_str() {
        "HEAD" => Reply::not_found(),
        "POST" => Reply::new(202).header("location", "/upload"),
        _ => Reply::new(201),
    })
    .await;
    let pull = Capabilities::default().with(Capability::Pull);
    let push = Capabilities::default().with(Capability::Push);
    let repository = repository(
        "registry.test",
        vec![
            place(&target, "/v2", push),
            place(&mirror, "/proxy/v2", pull.with(Capability::Resolve)),
        ],
    );
    let name = reference("registry.test", "test/image:v1");
    repository.resolve(&name).await.expect("resolve");
    repository
        .manifest(&manifest_of(MANIFEST))
        .await
        .expect("manifest");
    repository
        .push_blob(&layer_of(b"x"), BlobData::Bytes("x".into()))
        .await
        .expect("push");
    let asked = mirror.lines();
    assert_eq!(asked.len(), 2);
    assert_eq!(
        asked[0],
        "HEAD /proxy/v2/test/image/manifests/v1?ns=registry.test"
    );
    assert_eq!(target.seen().len(), 3);
    let seen = mirror.seen().into_iter().chain(target.seen());
    assert!(
        seen.into_iter()
            .all(|seen| seen.header("x-team") == Some("kiln"))
    );
}

#[tokio::test]
async fn what_no_place_can_do_is_an_error() {
    let fake = Fake::start(|_, _| Reply::ok("")).await;
    let repository = repository(
        "registry.test",
        vec![place(&fake, "/v2", Capabilities::default())],
    );
    let name = reference("registry.test", "test/image:v1");
    let resolved = repository.resolve(&name).await.map(drop);
    let pulled = repository.manifest(&manifest_of(b"x")).await.map(drop);
    let pushed = repository
        .push_blob(&layer_of(b"x"), BlobData::Bytes("x".into()))
        .await
        .map(drop);
    for (outcome, capability) in [(resolved, "resolve"), (pulled, "pull"), (pushed, "push")] {
        let error = outcome.expect_err("must fail").to_string();
        assert_eq!(
            error,
            format!(
                "no host of registry.test/test/image may be used to {capability}: \
                 add the capability {capability:?} to one in its hosts.toml"
            )
        );
    }
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn registries_without_settings_have_the_default() {
    let fake = Fake::start(|_, _| Reply::manifest(b"{}")).await;
    let repository = repository("_default", vec![place(&fake, "/v2", Capabilities::ALL)]);
    let name = reference("registry.test", "test/image:v1");
    repository.resolve(&name).await.expect("resolve");
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn an_ipv6_address_is_a_registry() {
    let fake = Fake::start_at("[::1]:0", |seen, _| match seen.header("authorization") {
        None => Reply::new(401).header("www-authenticate", "Basic realm=\"fake\""),
        Some(_) => Reply::manifest(b"{}"),
    })
    .await;
    assert!(fake.host.starts_with("[::1]:"));
    let purse = crate::Purse::basic("me", "pw");
    let repository = crate::repository_as(&fake.host, purse.clone());
    let name = reference(&fake.host, "test/image:v1");
    repository.resolve(&name).await.expect("resolve");
    assert_eq!(
        purse.asked.lock().expect("lock").as_slice(),
        std::slice::from_ref(&fake.host)
    );
}
