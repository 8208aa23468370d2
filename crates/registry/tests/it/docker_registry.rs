//! The whole way there and back with a real registry.

use bytes::Bytes;
use kiln_registry::{BlobData, BlobSource, Hosts, PushOutcome, PushTarget, Repository};
use kiln_testkit::registry::{Protection, Registry};
use oci_spec::image::{Descriptor, MediaType};

use crate::{Purse, client, digest_of, layer_of, manifest_of, noise, reference, repository_as};

async fn push_image(
    repository: &Repository,
    layer: &Descriptor,
    data: BlobData,
) -> (Descriptor, Bytes) {
    let config = Bytes::from_static(
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#,
    );
    let described = Descriptor::new(
        MediaType::ImageConfig,
        config.len() as u64,
        digest_of(&config),
    );
    repository.push_blob(layer, data).await.expect("layer");
    repository
        .push_blob(&described, BlobData::Bytes(config))
        .await
        .expect("config");
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described,
        "layers": [layer],
    });
    let bytes = Bytes::from(serde_json::to_vec(&manifest).expect("JSON"));
    (manifest_of(&bytes), bytes)
}

async fn there_and_back(registry: &Registry, repository: &Repository) {
    let blob = noise(3_000_000);
    let layer = layer_of(&blob);
    let (manifest, bytes) =
        push_image(repository, &layer, BlobData::Bytes(blob.clone().into())).await;
    let tag = PushTarget::Tag("v1".into());
    let push = || repository.push_manifest(&manifest, bytes.clone(), &tag);
    assert_eq!(push().await.expect("push"), PushOutcome::Sent);
    assert_eq!(push().await.expect("push"), PushOutcome::Existed);
    let name = reference(&registry.host(), "test/image:v1");
    let found = repository.resolve(&name).await.expect("resolve");
    assert_eq!(
        (found.digest(), found.size()),
        (manifest.digest(), manifest.size())
    );
    assert_eq!(repository.manifest(&found).await.expect("manifest"), bytes);
    let mut stream = repository.blob(&layer);
    let mut pulled = Vec::new();
    while let Some(piece) = stream.next().await.expect("blob") {
        pulled.extend_from_slice(&piece);
    }
    assert_eq!(pulled, blob);
    assert_eq!(repository.tags().await.expect("tags"), ["v1"]);
    assert!(
        repository
            .referrers(manifest.digest(), None)
            .await
            .expect("referrers")
            .is_empty()
    );
}

#[tokio::test]
async fn open_registry() {
    let registry = Registry::start().expect("docker-registry");
    let repository = crate::repository(&registry.host());
    there_and_back(&registry, &repository).await;
    let other = client(Hosts::new()).repository(
        &reference(&registry.host(), "other/image"),
        kiln_registry::Anonymous::shared(),
    );
    let blob = noise(3_000_000);
    let from = reference(&registry.host(), "test/image");
    let outcome = other
        .push_blob(
            &layer_of(&blob),
            BlobSource::from(BlobData::Bytes(Bytes::new())).mount_from(vec![from]),
        )
        .await;
    assert_eq!(outcome.expect("mount"), PushOutcome::Mounted);
    let missing = other
        .resolve(&reference(&registry.host(), "other/image:none"))
        .await
        .expect_err("must fail");
    assert!(missing.is_not_found());
}

#[tokio::test]
async fn protected_registry() {
    let basic = Some(("me".to_owned(), "secret".to_owned()));
    let registry = Registry::start_protected(Protection {
        basic,
        ..Protection::default()
    })
    .expect("docker-registry");
    there_and_back(
        &registry,
        &repository_as(&registry.host(), Purse::basic("me", "secret")),
    )
    .await;
    let stranger = crate::repository(&registry.host());
    let error = stranger
        .resolve(&reference(&registry.host(), "test/image:v1"))
        .await
        .expect_err("must fail");
    assert!(error.to_string().contains("401 Unauthorized"), "{error}");
    let wrong = repository_as(&registry.host(), Purse::basic("me", "wrong"));
    let denied = wrong
        .push_blob(&layer_of(b"x"), BlobData::Bytes("x".into()))
        .await
        .expect_err("must fail");
    assert!(denied.to_string().contains("401 Unauthorized"), "{denied}");
}

#[tokio::test]
async fn pieces_become_a_blob() {
    let registry = Registry::start().expect("docker-registry");
    let repository = crate::repository(&registry.host());
    let blob = Bytes::from(noise(2_500_000));
    let digest = digest_of(&blob);
    let pieces = move || {
        let rest = blob.clone();
        let pieces =
            (0..25).map(move |number| rest.slice(number * 100_000..(number + 1) * 100_000));
        futures::stream::iter(pieces.map(Ok))
    };
    let mut upload = repository.start_upload().await.expect("upload");
    upload.send(pieces.clone()).await.expect("send");
    upload.finish(&digest).await.expect("finish");
    assert!(repository.has_blob(&digest).await.expect("answer"));

    let mut wrong = repository.start_upload().await.expect("upload");
    wrong.send(pieces).await.expect("send");
    let refused = wrong.finish(&digest_of(b"y")).await;
    refused.expect_err("the registry verifies");
}

#[tokio::test]
async fn nothing_is_left_of_an_upload_that_is_cancelled() {
    let registry = Registry::start().expect("docker-registry");
    let repository = crate::repository(&registry.host());
    let mut upload = repository.start_upload().await.expect("upload");
    let piece = || futures::stream::iter([Ok(Bytes::from("x"))]);
    upload.send(piece).await.expect("send");
    let uploads = "docker/registry/v2/repositories/test/image/_uploads";
    let uploads = std::fs::read_dir(registry.storage().join(uploads)).expect("uploads");
    let uploads: Vec<_> = uploads
        .map(|it| it.expect("upload").path().join("data"))
        .collect();
    assert!(matches!(uploads.as_slice(), [data] if data.exists()));
    upload.cancel().await.expect("cancel");
    assert!(!uploads[0].exists());
}

/// This registry has no list of referrers, so it is kept under a tag.
#[tokio::test]
async fn referrers_by_tag() {
    let registry = Registry::start().expect("docker-registry");
    let repository = crate::repository(&registry.host());
    let blob = noise(1000);
    let layer = layer_of(&blob);
    let (subject, bytes) = push_image(&repository, &layer, BlobData::Bytes(blob.into())).await;
    let tag = PushTarget::Tag("v1".into());
    let pushed = repository.push_manifest(&subject, bytes, &tag).await;
    pushed.expect("push");
    let entry = |kind: &str| {
        serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": kind,
            "digest": subject.digest(),
            "size": subject.size(),
        })
    };
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry("application/vnd.example.one"), entry("application/vnd.example.two")],
    });
    let index = Bytes::from(index.to_string());
    let described = Descriptor::new(MediaType::ImageIndex, index.len() as u64, digest_of(&index));
    let fallback = PushTarget::Tag(subject.digest().to_string().replace(':', "-"));
    let pushed = repository.push_manifest(&described, index, &fallback).await;
    pushed.expect("push");
    let all = repository.referrers(subject.digest(), None).await;
    assert_eq!(all.expect("referrers").len(), 2);
    let kind = "application/vnd.example.two";
    let some = repository.referrers(subject.digest(), Some(kind)).await;
    let some = some.expect("referrers");
    assert_eq!(some.len(), 1);
    let found = some[0].artifact_type().as_ref().map(AsRef::as_ref);
    assert_eq!(found, Some(kind));
}
