//! Proxies.

use kiln_registry::{Anonymous, Client, ClientOptions, Hosts, ProxySettings};

use crate::fake::{Fake, Reply};
use crate::{digest_of, host_config, reference};

#[tokio::test]
async fn plain_requests_go_through_a_proxy_except_where_not_meant_to() {
    let proxy = Fake::start(|_, _| Reply::ok("")).await;
    let registry = Fake::start(|_, _| Reply::ok("")).await;
    let plain = host_config(|config| config.http = Some(true));
    let hosts = Hosts::from([
        ("registry.test".to_owned(), plain.clone()),
        ("direct.test".to_owned(), plain),
    ]);
    let address = Some(format!("http://{}", proxy.host));
    let proxy_settings = ProxySettings {
        http: address.clone(),
        https: address,
        no_proxy: Some("direct.test".into()),
    };
    let client = Client::new(ClientOptions {
        hosts,
        proxy: proxy_settings,
        ..ClientOptions::default()
    })
    .expect("client");
    let ask = async |host: &str| {
        let repository = client.repository(&reference(host, "test/image"), Anonymous::shared());
        repository.has_blob(&digest_of(b"x")).await
    };
    assert!(ask("registry.test").await.expect("through the proxy"));
    let digest = digest_of(b"x");
    assert_eq!(
        proxy.lines(),
        [format!(
            "HEAD http://registry.test/v2/test/image/blobs/{digest}"
        )]
    );
    assert!(
        ask(&registry.host)
            .await
            .expect("loopback is reached directly")
    );
    assert_eq!(registry.seen().len(), 1);
    assert_eq!(proxy.seen().len(), 1);
}

#[test]
fn a_proxy_that_is_no_address_is_an_error() {
    let proxy = ProxySettings {
        https: Some("://".into()),
        ..ProxySettings::default()
    };
    let outcome = Client::new(ClientOptions {
        proxy,
        ..ClientOptions::default()
    });
    assert!(outcome.is_err_and(|error| {
        error
            .to_string()
            .starts_with("failed to set up the HTTP client: invalid proxy")
    }));
}
