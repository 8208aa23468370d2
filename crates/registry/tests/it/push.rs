//! Pushing to a registry that misbehaves.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use kiln_registry::{BlobData, BlobSource, PushOutcome, PushTarget, RegistryError};
use rstest::rstest;

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
        .push_blob(&layer, BlobData::Bytes(blob.clone().into()))
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
        .push_blob(&layer_of(&blob), data)
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
        .push_blob(&layer_of(b"x"), BlobData::Bytes("x".into()))
        .await;
    assert_eq!(outcome.expect("push"), PushOutcome::Existed);
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn a_blob_is_mounted_from_another_repository() {
    let fake = accepting(|seen, _| seen.path.contains("mount=").then(|| Reply::new(201))).await;
    let from = reference(&fake.host, "base/image");
    let outcome = repository(&fake.host)
        .push_blob(
            &layer_of(b"x"),
            BlobSource::from(BlobData::Bytes("x".into())).mount_from(vec![from]),
        )
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
            .push_blob(
                &layer_of(b"x"),
                BlobSource::from(BlobData::Bytes("x".into())).mount_from(vec![from]),
            )
            .await;
        assert_eq!(outcome.expect("push"), PushOutcome::Sent, "{status}");
    }
}

#[tokio::test]
async fn other_registries_are_no_place_to_mount_from() {
    let fake = accepting(|_, _| None).await;
    let from = reference("other.example", "base/image");
    repository(&fake.host)
        .push_blob(
            &layer_of(b"x"),
            BlobSource::from(BlobData::Bytes("x".into())).mount_from(vec![from]),
        )
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
        .push_blob(&layer_of(b"x"), BlobData::Bytes("x".into()))
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

/// A stream of these pieces, as often as it is asked for.
fn pieces(of: &'static [&'static str]) -> impl Fn() -> Pieces + Send + Sync + 'static {
    move || stream::iter(of.iter().map(|piece| Ok(Bytes::from(*piece)))).boxed()
}

type Pieces = BoxStream<'static, io::Result<Bytes>>;

#[tokio::test]
async fn a_blob_is_sent_while_it_is_made() {
    let fake = accepting(|_, _| None).await;
    let mut upload = repository(&fake.host).start_upload().await.expect("upload");
    upload.send(pieces(&["one", "two!"])).await.expect("send");
    upload.finish(&digest_of(b"onetwo!")).await.expect("finish");
    let seen = fake.seen();
    let lines: Vec<_> = seen.iter().map(|seen| seen.line()).collect();
    assert_eq!(lines[1], "PATCH /upload/1?state=x");
    assert_eq!(seen[1].header("transfer-encoding"), Some("chunked"));
    assert_eq!(seen[1].body, b"onetwo!");
    assert!(
        lines[2].starts_with("PUT /upload/2?state=y&digest=sha256"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn an_upload_elsewhere_begins_with_the_first_byte() {
    let fake = accepting(|seen, _| {
        (seen.line() == "PATCH /upload/1?state=x")
            .then(|| Reply::new(307).header("location", "/elsewhere"))
    })
    .await;
    let mut upload = repository(&fake.host).start_upload().await.expect("upload");
    upload.send(pieces(&["one", "two!"])).await.expect("send");
    let last = fake.seen().pop().expect("a request");
    assert_eq!(last.line(), "PATCH /elsewhere");
    assert_eq!(last.body, b"onetwo!");
}

#[tokio::test]
async fn an_upload_that_fails_is_not_tried_again_and_can_be_cancelled() {
    let fake = accepting(|seen, _| match seen.method.as_str() {
        "PATCH" => Some(Reply::new(503)),
        "DELETE" => Some(Reply::new(204)),
        _ => None,
    })
    .await;
    let mut upload = repository(&fake.host).start_upload().await.expect("upload");
    let error = upload.send(pieces(&["one"])).await.expect_err("must fail");
    assert!(error.to_string().contains("503"), "{error}");
    upload.cancel().await.expect("cancel");
    assert_eq!(
        fake.lines(),
        [
            "POST /v2/test/image/blobs/uploads/",
            "PATCH /upload/1?state=x",
            "DELETE /upload/1?state=x"
        ]
    );
}

/// What neither comes nor ends is given up.
#[tokio::test]
async fn an_upload_that_stands_still_ends() {
    let fake = accepting(|_, _| None).await;
    let mut upload = repository(&fake.host).start_upload().await.expect("upload");
    let stuck = || stream::iter([Ok(Bytes::from("one"))]).chain(stream::pending());
    let error = upload.send(stuck).await.expect_err("must fail");
    assert!(matches!(error, RegistryError::Transport { .. }), "{error}");
}

#[tokio::test]
async fn a_broken_upload_goes_on_where_it_broke() {
    let blob = noise(500_000);
    let fake = accepting(|seen, number| match (seen.method.as_str(), number) {
        ("PUT", 2) => Some(Reply::dropped()),
        ("GET", _) => Some(
            Reply::new(204)
                .header("range", "0-199999")
                .header("location", "/upload/1?state=later"),
        ),
        _ => None,
    })
    .await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let listen = Arc::clone(&told);
    let source = BlobSource::from(BlobData::Bytes(blob.clone().into()))
        .report_to(move |done| listen.lock().expect("lock").push(done));
    let outcome = repository(&fake.host)
        .push_blob(&layer_of(&blob), source)
        .await;
    assert_eq!(outcome.expect("push"), PushOutcome::Sent);
    let seen = fake.seen();
    let lines: Vec<_> = seen.iter().map(|seen| seen.line()).collect();
    assert_eq!(lines[3], "GET /upload/1?state=x");
    assert_eq!(lines[4], "PATCH /upload/1?state=later");
    assert_eq!(seen[4].header("content-range"), Some("200000-499999"));
    assert_eq!(seen[4].body, blob[200_000..]);
    assert!(lines[5].starts_with("PUT /upload/2?state=y&digest="));
    assert_eq!(told.lock().expect("lock").last(), Some(&500_000));
}

#[rstest]
#[case::forgotten(404)]
#[case::elsewhere(416)]
#[tokio::test]
async fn an_upload_that_the_registry_has_lost_begins_anew(#[case] status: u16) {
    let fake = accepting(move |seen, number| {
        (seen.method == "PUT" && number < 4).then(|| Reply::new(status))
    })
    .await;
    let outcome = repository(&fake.host)
        .push_blob(&layer_of(b"x"), BlobData::Bytes("x".into()))
        .await;
    assert_eq!(outcome.expect("push"), PushOutcome::Sent);
    assert_eq!(
        fake.lines()
            .iter()
            .filter(|line| line.starts_with("POST"))
            .count(),
        2
    );
}

#[tokio::test]
async fn a_blob_whose_answer_was_lost_is_not_sent_again() {
    let fake = accepting(|seen, number| match (seen.method.as_str(), number) {
        ("PUT", _) => Some(Reply::dropped()),
        ("GET", _) => Some(Reply::not_found()),
        ("HEAD", 1..) => Some(Reply::ok("")),
        _ => None,
    })
    .await;
    let outcome = repository(&fake.host)
        .push_blob(&layer_of(b"x"), BlobData::Bytes("x".into()))
        .await;
    assert_eq!(outcome.expect("push"), PushOutcome::Existed);
    assert_eq!(
        fake.lines()
            .iter()
            .filter(|line| line.starts_with("PUT"))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_blob_of_another_size_is_pushed_over() {
    let fake = accepting(|seen, _| {
        (seen.method == "HEAD").then(|| Reply::ok("").header("content-length", "7"))
    })
    .await;
    let outcome = repository(&fake.host)
        .push_blob(&layer_of(b"x"), BlobData::Bytes("x".into()))
        .await;
    assert_eq!(outcome.expect("push"), PushOutcome::Sent);
}

#[tokio::test]
async fn what_is_mounted_need_not_be_here() {
    let fake = accepting(|seen, _| seen.path.contains("mount=").then(|| Reply::new(201))).await;
    let source = BlobSource::from(BlobData::Bytes(Bytes::new()))
        .mount_from(vec![reference(&fake.host, "base/image")])
        .bring(|| Box::pin(async { Err("brought for nothing".into()) }));
    let outcome = repository(&fake.host)
        .push_blob(&layer_of(b"x"), source)
        .await;
    assert_eq!(outcome.expect("push"), PushOutcome::Mounted);
}

#[tokio::test]
async fn patience_has_an_end() {
    let fake = accepting(|seen, _| {
        (seen.method == "PUT").then(|| Reply::new(429).header("retry-after", "3600"))
    })
    .await;
    let error = repository(&fake.host)
        .push_blob(&layer_of(b"x"), BlobData::Bytes("x".into()))
        .await
        .expect_err("must fail");
    assert!(
        error
            .to_string()
            .ends_with("429 Too Many Requests\nthe registry asks to try again after 3600 seconds"),
        "{error}"
    );
    assert_eq!(fake.seen().len(), 3);
}

/// What a registry, or what stands in front of it, says is shown.
#[rstest]
#[case::registry(
    Reply::error(404, "NAME_UNKNOWN", "no repository test/image"),
    "name unknown: no repository test/image"
)]
#[case::text(Reply::new(403).body("quota exceeded\nfor  test\n"), "quota exceeded for test")]
#[case::page(Reply::new(413).body("<html><head><title>413 Request Too Large</title></head></html>"), "413 Request Too Large")]
#[tokio::test]
async fn refusals_are_shown_with_their_body(#[case] reply: Reply, #[case] expected: &str) {
    let fake = accepting(move |seen, _| (seen.method == "POST").then(|| reply.clone())).await;
    let error = repository(&fake.host)
        .push_blob(&layer_of(b"x"), BlobData::Bytes("x".into()))
        .await
        .expect_err("must fail");
    let text = error.to_string();
    assert!(text.ends_with(&format!("\n{expected}")), "{text}");
    assert!(text.contains(&fake.host), "{text}");
}
