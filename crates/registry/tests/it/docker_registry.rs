//! The whole way there and back with a real registry.

use bytes::Bytes;
use kiln_registry::{BlobData, Hosts, PushOutcome, PushTarget, Repository};
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
    repository
        .push_blob(layer, data, None)
        .await
        .expect("layer");
    repository
        .push_blob(&described, BlobData::Bytes(config), None)
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
        .push_blob(&layer_of(&blob), BlobData::Bytes(Bytes::new()), Some(&from))
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
        .push_blob(&layer_of(b"x"), BlobData::Bytes("x".into()), None)
        .await
        .expect_err("must fail");
    assert!(denied.to_string().contains("401 Unauthorized"), "{denied}");
}

#[tokio::test]
async fn pieces_become_a_blob() {
    let registry = Registry::start().expect("docker-registry");
    let repository = crate::repository(&registry.host());
    let blob = noise(2_500_000);
    let mut upload = repository.start_upload().await.expect("upload");
    for piece in blob.chunks(1_000_000) {
        upload
            .write(Bytes::copy_from_slice(piece))
            .await
            .expect("write");
    }
    upload.finish(&digest_of(&blob)).await.expect("finish");
    assert!(
        repository
            .has_blob(&digest_of(&blob))
            .await
            .expect("answer")
    );
    let mut wrong = repository.start_upload().await.expect("upload");
    wrong.write("x".into()).await.expect("write");
    wrong
        .finish(&digest_of(b"y"))
        .await
        .expect_err("the registry verifies");
}
