//! Resolving names and getting manifests.

use kiln_registry::{Anonymous, Client, ClientOptions, RegistryError, RetryPolicy};
use oci_spec::image::MediaType;
use rstest::rstest;

use crate::fake::{Fake, Reply};
use crate::{digest_of, manifest_of, reference, repository};

const MANIFEST: &[u8] = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;

#[tokio::test]
async fn a_tag_takes_one_head_request() {
    let fake = Fake::start(|_, _| Reply::manifest(MANIFEST)).await;
    let found = repository(&fake.host)
        .resolve(&reference(&fake.host, "test/image:v1"))
        .await
        .expect("resolve");
    assert_eq!(found.digest(), &digest_of(MANIFEST));
    assert_eq!(found.size(), MANIFEST.len() as u64);
    assert_eq!(found.media_type(), &MediaType::ImageManifest);
    assert_eq!(fake.lines(), ["HEAD /v2/test/image/manifests/v1"]);
    assert!(
        fake.seen()[0]
            .header("accept")
            .expect("accept")
            .contains("application/vnd.oci.image.index.v1+json")
    );
}

#[tokio::test]
async fn no_tag_is_latest_and_a_digest_wins_over_a_tag() {
    let fake = Fake::start(|_, _| Reply::manifest(MANIFEST)).await;
    let repository = repository(&fake.host);
    repository
        .resolve(&reference(&fake.host, "test/image"))
        .await
        .expect("resolve");
    let pinned = reference(&fake.host, "test/image:v1").with_digest(digest_of(MANIFEST));
    repository.resolve(&pinned).await.expect("resolve");
    let digest = digest_of(MANIFEST);
    assert_eq!(
        fake.lines(),
        [
            "HEAD /v2/test/image/manifests/latest".to_owned(),
            format!("HEAD /v2/test/image/manifests/{digest}")
        ]
    );
}

#[tokio::test]
async fn registries_without_digest_header_or_head_are_asked_by_get() {
    for head in [Reply::ok(MANIFEST), Reply::new(405)] {
        let fake = Fake::start(move |seen, _| match seen.method.as_str() {
            "HEAD" => head.clone(),
            _ => Reply::ok(MANIFEST).header(
                "content-type",
                "application/vnd.docker.distribution.manifest.v2+json",
            ),
        })
        .await;
        let found = repository(&fake.host)
            .resolve(&reference(&fake.host, "test/image:v1"))
            .await
            .expect("resolve");
        assert_eq!(found.digest(), &digest_of(MANIFEST));
        assert_eq!(
            found.media_type().as_ref(),
            "application/vnd.docker.distribution.manifest.v2+json"
        );
    }
}

#[rstest]
#[case::missing(Reply::not_found(), "HOST/test/image:v1: not found")]
#[case::forbidden(
    Reply::error(403, "DENIED", "your address is blocked"),
    "unexpected status from GET request to http://HOST/v2/test/image/manifests/v1: 403 Forbidden\ndenied: your address is blocked"
)]
#[case::broken(
    Reply::new(500),
    "unexpected status from HEAD request to http://HOST/v2/test/image/manifests/v1: 500 Internal Server Error"
)]
#[case::silent(
    Reply::dropped(),
    "failed to do request: HEAD http://HOST/v2/test/image/manifests/v1: "
)]
#[case::bad_digest(Reply::manifest(MANIFEST).header("docker-content-digest", "junk"), "HOST")]
#[case::schema_one(
    Reply::manifest(MANIFEST).header("content-type", "application/vnd.docker.distribution.manifest.v1+prettyjws"),
    "HOST"
)]
#[tokio::test]
async fn failures(#[case] reply: Reply, #[case] expected: &str) {
    let fake = Fake::start(move |_, _| reply.clone()).await;
    let outcome = repository(&fake.host)
        .resolve(&reference(&fake.host, "test/image:v1"))
        .await;
    if expected == "HOST" {
        // The first of a doubled header counts, so these two are fine.
        outcome.expect("resolve");
        return;
    }
    let text = outcome
        .expect_err("must fail")
        .to_string()
        .replace(&fake.host, "HOST");
    assert!(text.starts_with(expected), "{text}");
}

#[tokio::test]
async fn a_manifest_of_the_first_generation_is_refused() {
    let old = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let fake = Fake::start(move |_, _| {
        Reply::ok(MANIFEST)
            .header("content-type", old)
            .header("docker-content-digest", digest_of(MANIFEST).as_ref())
    })
    .await;
    let error = repository(&fake.host)
        .resolve(&reference(&fake.host, "test/image:v1"))
        .await
        .expect_err("must fail");
    assert!(matches!(error, RegistryError::SchemaOne), "{error}");
}

#[tokio::test]
async fn a_digest_header_that_is_none_is_an_error() {
    let fake = Fake::start(|_, _| {
        Reply::ok(MANIFEST)
            .header("content-type", "application/vnd.oci.image.manifest.v1+json")
            .header("docker-content-digest", "junk")
    })
    .await;
    let error = repository(&fake.host)
        .resolve(&reference(&fake.host, "test/image:v1"))
        .await
        .expect_err("must fail");
    assert!(
        error
            .to_string()
            .ends_with("\"junk\" in header not a valid digest"),
        "{error}"
    );
}

#[rstest]
#[case(500)]
#[case(502)]
#[case(503)]
#[case(429)]
#[case(408)]
#[tokio::test]
async fn temporary_statuses_are_tried_again(#[case] status: u16) {
    let fake = Fake::start(move |_, number| match number {
        0 | 1 => Reply::new(status).header("retry-after", "0"),
        _ => Reply::manifest(MANIFEST),
    })
    .await;
    repository(&fake.host)
        .resolve(&reference(&fake.host, "test/image:v1"))
        .await
        .expect("resolve");
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test]
async fn lost_connections_are_tried_again() {
    let fake = Fake::start(|_, number| {
        if number < 2 {
            Reply::dropped()
        } else {
            Reply::manifest(MANIFEST)
        }
    })
    .await;
    repository(&fake.host)
        .resolve(&reference(&fake.host, "test/image:v1"))
        .await
        .expect("resolve");
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test]
async fn a_wait_longer_than_bearable_is_an_error_at_once() {
    let fake = Fake::start(|_, _| Reply::new(429).header("retry-after", "3600")).await;
    let error = repository(&fake.host)
        .resolve(&reference(&fake.host, "test/image:v1"))
        .await
        .expect_err("must fail");
    assert!(
        error.to_string().contains("429 Too Many Requests"),
        "{error}"
    );
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn manifests_are_verified() {
    let fake = Fake::start(|_, _| Reply::ok(&MANIFEST[1..])).await;
    let mut wanted = manifest_of(MANIFEST);
    let error = repository(&fake.host)
        .manifest(&wanted)
        .await
        .expect_err("must fail");
    assert!(
        matches!(error, RegistryError::DigestMismatch { .. }),
        "{error}"
    );
    wanted.set_size(3);
    let error = repository(&fake.host)
        .manifest(&wanted)
        .await
        .expect_err("must fail");
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn huge_manifests_are_refused_before_they_are_read() {
    let size = (5u64 << 20).to_string();
    let fake = Fake::start(move |_, _| {
        Reply::manifest(MANIFEST)
            .header("content-length", &size)
            .hang_after(1)
    })
    .await;
    let error = repository(&fake.host)
        .resolve(&reference(&fake.host, "test/image:v1"))
        .await
        .expect_err("must fail");
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn endless_manifests_are_cut_off() {
    let fake = Fake::start(|seen, _| match seen.method.as_str() {
        "HEAD" => Reply::new(405),
        _ => Reply::ok(vec![b' '; 5 << 20]).header("transfer-encoding", "identity"),
    })
    .await;
    let error = repository(&fake.host)
        .resolve(&reference(&fake.host, "test/image:v1"))
        .await
        .expect_err("must fail");
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_silent_registry_is_given_up() {
    let fake = Fake::start(|_, _| Reply::ok("x").hang_after(0)).await;
    let error = repository(&fake.host)
        .manifest(&manifest_of(b"x"))
        .await
        .expect_err("must fail");
    assert!(error.is_temporary(), "{error}");
}

/// Retries would take hours here.
#[tokio::test]
async fn nobody_at_the_port_is_an_answer() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let host = listener.local_addr().expect("address").to_string();
    drop(listener);
    let pause = std::time::Duration::from_secs(3600);
    let client = Client::new(ClientOptions {
        retry: RetryPolicy {
            attempts: 3,
            first_pause: pause,
            longest_pause: pause,
            longest_wait: pause,
        },
        ..ClientOptions::default()
    })
    .expect("client");
    let image = reference(&host, "test/image:v1");
    let repository = client.repository(&image, Anonymous::shared());
    let error = repository.resolve(&image).await.expect_err("resolve");
    assert!(error.to_string().contains("refused"), "{error}");
}
