//! HTTPS against a real registry with a certificate of its own.

use kiln_registry::{Anonymous, Hosts, RegistryError};
use kiln_testkit::registry::{Protection, Registry, Transport};

use crate::{client, host_config, layer_of, reference};

fn start() -> Registry {
    let protection = Protection {
        transport: Transport::Https,
        ..Protection::default()
    };
    Registry::start_protected(protection).expect("docker-registry")
}

async fn ask(registry: &Registry, hosts: Hosts) -> Result<bool, RegistryError> {
    let name = reference(&registry.host(), "test/image");
    client(hosts)
        .repository(&name, Anonymous::shared())
        .has_blob(layer_of(b"x").digest())
        .await
}

#[tokio::test]
async fn certificates_decide() {
    let registry = start();
    let host = registry.host();
    let secure = host_config(|config| {
        config.http = Some(false);
        config.ca = vec![registry.ca()];
    });
    assert!(
        !ask(&registry, Hosts::from([(host.clone(), secure)]))
            .await
            .expect("trusted by its CA")
    );
    let insecure = host_config(|config| {
        config.http = Some(false);
        config.insecure = Some(true);
    });
    assert!(
        !ask(&registry, Hosts::from([(host.clone(), insecure)]))
            .await
            .expect("trusted blindly")
    );
    let unknown = host_config(|config| config.http = Some(false));
    let error = ask(&registry, Hosts::from([(host.clone(), unknown)]))
        .await
        .expect_err("not trusted");
    assert!(
        error.to_string().contains("invalid peer certificate"),
        "{error}"
    );
    assert!(!error.is_temporary());
    let missing = host_config(|config| config.ca = vec!["/nonexistent.pem".into()]);
    let error = ask(&registry, Hosts::from([(host, missing)]))
        .await
        .expect_err("no such file");
    assert!(
        error
            .to_string()
            .starts_with("failed to load /nonexistent.pem: "),
        "{error}"
    );
}

#[tokio::test]
async fn insecure_and_http_falls_back_to_what_is_spoken() {
    let both = || {
        host_config(|config| {
            config.http = Some(true);
            config.insecure = Some(true);
        })
    };
    let with_tls = start();
    assert!(
        !ask(&with_tls, Hosts::from([(with_tls.host(), both())]))
            .await
            .expect("HTTPS")
    );
    let without = Registry::start().expect("docker-registry");
    assert!(
        !ask(&without, Hosts::from([(without.host(), both())]))
            .await
            .expect("HTTP")
    );
}

#[tokio::test]
async fn localhost_is_found_without_a_resolver() {
    let registry = Registry::start().expect("docker-registry");
    let port = registry.host().rsplit(':').next().expect("port").to_owned();
    let name = reference(&format!("localhost:{port}"), "test/image");
    let repository = client(Hosts::new()).repository(&name, Anonymous::shared());
    assert!(
        !repository
            .has_blob(layer_of(b"x").digest())
            .await
            .expect("plain HTTP on loopback")
    );
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_told_so() {
    let name = reference("nonexistent.invalid", "test/image");
    let repository = client(Hosts::new()).repository(&name, Anonymous::shared());
    let error = repository
        .has_blob(layer_of(b"x").digest())
        .await
        .expect_err("no such host")
        .to_string();
    assert!(error.contains("lookup nonexistent.invalid: "), "{error}");
}
