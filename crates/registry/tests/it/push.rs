//! Pushing to a registry that misbehaves.

use bytes::Bytes;
use kiln_registry::{BlobData, PushOutcome, PushTarget, RegistryError};

use crate::fake::{Fake, Reply, Seen};
use crate::{digest_of, layer_of, manifest_of, noise, reference, repository};

/// A registry that takes everything, except for what `change` answers first.
async fn accepting(change: impl Fn(&Seen, usize) -> Option<Reply> + Send + Sync + 'static) -> Fake {
    Fake::start(move |seen, number| {
        change(seen, number).unwrap_or_else(|| match seen.method.as_str() {
            "HEAD" => Reply::not_found(),
            "POST" => Reply::new(202).header("location", "/upload/1?state=x"),
            "PATCH" => Reply::new(202).header("location", "/upload/2?state=y"),
            _ => Reply::new(201),
        })
    })
    .await
}

#[tokio::test]
async fn a_blob_is_sent_whole() {
    let blob = noise(100_000);
    let layer = layer_of(&blob);
    let fake = accepting(|_, _| None).await;
    let outcome = repository(&fake.host)
        .push_blob(&layer, BlobData::Bytes(blob.clone().into()), None)
        .await;
    assert_eq!(outcome.expect("push"), PushOutcome::Sent);
    let encoded = layer.digest().to_string().replace(':', "%3A");
    assert_eq!(
        fake.lines(),
        [
            format!("HEAD /v2/test/image/blobs/{}", layer.digest()),
            "POST /v2/test/image/blobs/uploads/".to_owned(),
            format!("PUT /upload/1?state=x&digest={encoded}"),
        ]
    );
    assert_eq!(fake.seen()[2].body, blob);
}

#[tokio::test]
async fn a_file_is_opened_again_for_each_attempt() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("blob");
    let blob = noise(1_000_000);
    std::fs::write(&path, &blob).expect("write");
    let fake =
        accepting(|seen, number| (seen.method == "PUT" && number < 4).then(|| Reply::new(500)))
            .await;
    let data = BlobData::File(std::sync::Arc::new(move || std::fs::File::open(&path)));
    repository(&fake.host)
        .push_blob(&layer_of(&blob), data, None)
        .await
        .expect("push");
    let last = fake.seen().pop().expect("a request");
    assert_eq!(last.header("content-length"), Some("1000000"));
    assert_eq!(last.body, blob);
    assert_eq!(
        fake.lines()
            .iter()
            .filter(|line| line.starts_with("POST"))
            .count(),
        2,
        "each attempt begins anew"
    );
}

#[tokio::test]
async fn what_is_there_is_not_sent() {
    let fake = accepting(|seen, _| (seen.method == "HEAD").then(|| Reply::ok(""))).await;
    let outcome = repository(&fake.host)
        .push_blob(&layer_of(b"x"), BlobData::Bytes("x".into()), None)
        .await;
    assert_eq!(outcome.expect("push"), PushOutcome::Existed);
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn a_blob_is_mounted_from_another_repository() {
    let fake = accepting(|seen, _| seen.path.contains("mount=").then(|| Reply::new(201))).await;
    let from = reference(&fake.host, "base/image");
    let outcome = repository(&fake.host)
        .push_blob(&layer_of(b"x"), BlobData::Bytes("x".into()), Some(&from))
        .await;
    assert_eq!(outcome.expect("push"), PushOutcome::Mounted);
    let encoded = layer_of(b"x").digest().to_string().replace(':', "%3A");
    assert_eq!(
        fake.lines()[1],
        format!("POST /v2/test/image/blobs/uploads/?mount={encoded}&from=base%2Fimage")
    );
}

#[tokio::test]
async fn a_mount_that_is_refused_becomes_an_upload() {
    for status in [202, 401, 403, 404] {
        let fake = accepting(move |seen, _| {
            seen.path
                .contains("mount=")
                .then(|| Reply::new(status).header("location", "/upload/1"))
        })
        .await;
        let from = reference(&fake.host, "base/image");
        let outcome = repository(&fake.host)
            .push_blob(&layer_of(b"x"), BlobData::Bytes("x".into()), Some(&from))
            .await;
        assert_eq!(outcome.expect("push"), PushOutcome::Sent, "{status}");
    }
}

#[tokio::test]
async fn other_registries_are_no_place_to_mount_from() {
    let fake = accepting(|_, _| None).await;
    let from = reference("other.example", "base/image");
    repository(&fake.host)
        .push_blob(&layer_of(b"x"), BlobData::Bytes("x".into()), Some(&from))
        .await
        .expect("push");
    assert!(fake.lines().iter().all(|line| !line.contains("mount=")));
}

#[tokio::test]
async fn an_upload_elsewhere_is_told_no_credentials() {
    let elsewhere = Fake::start(|_, _| Reply::new(201)).await;
    let target = format!("http://{}/bucket", elsewhere.host);
    let fake = accepting(move |seen, _| match seen.header("authorization") {
        None => Some(Reply::new(401).header("www-authenticate", "Basic realm=\"fake\"")),
        Some(_) if seen.method == "POST" => Some(Reply::new(202).header("location", &target)),
        Some(_) => None,
    })
    .await;
    let repository = crate::repository_as(&fake.host, crate::Purse::basic("me", "pw"));
    repository
        .push_blob(&layer_of(b"x"), BlobData::Bytes("x".into()), None)
        .await
        .expect("push");
    assert_eq!(elsewhere.seen()[0].header("authorization"), None);
    assert_eq!(elsewhere.seen()[0].body, b"x");
}

#[tokio::test]
async fn a_manifest_is_put_under_its_tag() {
    let bytes = Bytes::from_static(b"{}");
    let fake = accepting(|_, _| None).await;
    let tag = PushTarget::Tag("v1".into());
    repository(&fake.host)
        .push_manifest(&manifest_of(&bytes), bytes.clone(), &tag)
        .await
        .expect("push");
    let put = fake.seen().pop().expect("a request");
    assert_eq!(put.line(), "PUT /v2/test/image/manifests/v1");
    assert_eq!(
        put.header("content-type"),
        Some("application/vnd.oci.image.manifest.v1+json")
    );
    assert_eq!(put.body, b"{}");
}

#[tokio::test]
async fn a_tag_that_is_right_already_stays() {
    let bytes = Bytes::from_static(b"{}");
    let fake = accepting(|seen, _| (seen.method == "HEAD").then(|| Reply::manifest(b"{}"))).await;
    for target in [PushTarget::Tag("v1".into()), PushTarget::Digest] {
        let outcome = repository(&fake.host)
            .push_manifest(&manifest_of(&bytes), bytes.clone(), &target)
            .await;
        assert_eq!(outcome.expect("push"), PushOutcome::Existed);
    }
}

#[tokio::test]
async fn a_manifest_that_arrives_as_another_is_an_error() {
    let bytes = Bytes::from_static(b"{}");
    let fake = accepting(|seen, _| {
        (seen.method == "PUT")
            .then(|| Reply::new(201).header("docker-content-digest", digest_of(b"other").as_ref()))
    })
    .await;
    let outcome = repository(&fake.host)
        .push_manifest(&manifest_of(&bytes), bytes, &PushTarget::Digest)
        .await;
    assert!(
        matches!(outcome, Err(RegistryError::DigestMismatch { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_refusal_is_told_in_the_registrys_words() {
    let bytes = Bytes::from_static(b"{}");
    let fake = accepting(|seen, _| {
        (seen.method == "PUT")
            .then(|| Reply::error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"))
    })
    .await;
    let outcome = repository(&fake.host)
        .push_manifest(&manifest_of(&bytes), bytes, &PushTarget::Digest)
        .await;
    let text = outcome.expect_err("must fail").to_string();
    assert!(
        text.ends_with("400 Bad Request\nmanifest blob unknown: blob unknown to registry"),
        "{text}"
    );
}

#[tokio::test]
async fn pieces_of_a_blob_follow_each_other() {
    let fake = accepting(|_, _| None).await;
    let mut upload = repository(&fake.host).start_upload().await.expect("upload");
    upload.write("one".into()).await.expect("write");
    upload.write("two!".into()).await.expect("write");
    assert_eq!(upload.sent(), 7);
    upload.finish(&digest_of(b"onetwo!")).await.expect("finish");
    let seen = fake.seen();
    let ranges: Vec<_> = seen
        .iter()
        .filter_map(|seen| seen.header("content-range"))
        .collect();
    assert_eq!(ranges, ["0-2", "3-6"]);
    assert!(
        seen[3].path.starts_with("/upload/2?state=y&digest=sha256"),
        "{}",
        seen[3].path
    );
}
