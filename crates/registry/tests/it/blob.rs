//! Pulling blobs through bad connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_registry::{RegistryError, Repository};
use kiln_store::{Store, StoreOptions};
use oci_spec::image::Descriptor;
use rstest::rstest;

use crate::fake::{Fake, Reply, Seen};
use crate::{layer_of, noise, repository};

const SIZE: usize = 300_000;

async fn read(repository: &Repository, layer: &Descriptor) -> Result<Vec<u8>, RegistryError> {
    let mut stream = repository.blob(layer);
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

#[tokio::test]
async fn a_blob_comes_whole() {
    let blob = noise(SIZE);
    let (layer, sent) = (layer_of(&blob), blob.clone());
    let fake = Fake::start(move |_, _| Reply::ok(sent.clone())).await;
    assert_eq!(
        read(&repository(&fake.host), &layer).await.expect("blob"),
        blob
    );
    assert_eq!(
        fake.lines(),
        [format!("GET /v2/test/image/blobs/{}", layer.digest())]
    );
}

type Fault = fn(Reply) -> Reply;

#[rstest]
#[case::closed(|reply: Reply| reply.close_after(1000))]
#[case::closed_at_once(|reply: Reply| reply.close_after(0))]
#[case::reset(|reply: Reply| reply.reset_after(1000))]
#[case::silent(|reply: Reply| reply.hang_after(1000))]
#[tokio::test]
async fn a_broken_transfer_goes_on_where_it_broke(#[case] fault: Fault) {
    let blob = noise(SIZE);
    let (layer, sent) = (layer_of(&blob), blob.clone());
    let fake = Fake::start(move |seen, number| match number {
        0 | 1 => fault(Reply::part(seen, &sent)),
        _ => Reply::part(seen, &sent),
    })
    .await;
    assert_eq!(
        read(&repository(&fake.host), &layer).await.expect("blob"),
        blob
    );
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test]
async fn a_registry_without_ranges_sends_again_and_the_start_is_dropped() {
    let blob = noise(SIZE);
    let (layer, sent) = (layer_of(&blob), blob.clone());
    let fake = Fake::start(move |_, number| match number {
        0 => Reply::ok(sent.clone()).close_after(70_000),
        _ => Reply::ok(sent.clone()),
    })
    .await;
    assert_eq!(
        read(&repository(&fake.host), &layer).await.expect("blob"),
        blob
    );
    assert_eq!(fake.seen()[1].header("range"), Some("bytes=70000-"));
}

#[tokio::test]
async fn a_range_that_was_not_asked_for_is_an_error() {
    let blob = noise(SIZE);
    let (layer, sent) = (layer_of(&blob), blob.clone());
    let fake = Fake::start(move |_, number| match number {
        0 => Reply::ok(sent.clone()).close_after(1000),
        _ => Reply::new(206).header("content-range", "bytes 5-9/300000"),
    })
    .await;
    let error = read(&repository(&fake.host), &layer)
        .await
        .expect_err("must fail");
    assert!(
        error
            .to_string()
            .ends_with("unhandled content range in response: bytes 5-9/300000"),
        "{error}"
    );
}

#[tokio::test]
async fn no_progress_ends_it() {
    let fake = Fake::start(|seen, _| Reply::part(seen, &noise(SIZE)).close_after(0)).await;
    let error = read(&repository(&fake.host), &layer_of(&noise(SIZE)))
        .await
        .expect_err("must fail");
    assert!(matches!(error, RegistryError::Transport { .. }), "{error}");
    assert_eq!(fake.seen().len(), 4);
}

#[rstest]
#[case::too_short(SIZE - 1, true)]
#[case::too_long(SIZE + 1, true)]
#[case::too_long_unannounced(SIZE + 1, false)]
#[tokio::test]
async fn another_size_is_an_error(#[case] size: usize, #[case] announced: bool) {
    let fake = Fake::start(move |_, _| {
        let reply = Reply::ok(noise(size));
        if announced {
            reply
        } else {
            reply
                .header("transfer-encoding", "identity")
                .close_after(size)
        }
    })
    .await;
    let error = read(&repository(&fake.host), &layer_of(&noise(SIZE)))
        .await
        .expect_err("must fail");
    assert!(
        matches!(error, RegistryError::SizeMismatch { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_missing_blob() {
    let fake = Fake::start(|_, _| Reply::not_found()).await;
    let layer = layer_of(b"x");
    let error = read(&repository(&fake.host), &layer)
        .await
        .expect_err("must fail");
    assert!(error.is_not_found());
    assert_eq!(
        error.to_string(),
        format!(
            "could not fetch content descriptor {} (application/vnd.oci.image.layer.v1.tar+gzip) from remote: not found",
            layer.digest()
        )
    );
}

#[tokio::test]
async fn no_more_than_four_transfers_at_a_time() {
    let blob = noise(SIZE);
    let (layer, sent) = (layer_of(&blob), blob.clone());
    let fake = Fake::start(move |_, _| Reply::ok(sent.clone())).await;
    let repository = repository(&fake.host);
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut stream = repository.blob(&layer);
        stream.next().await.expect("blob");
        open.push(stream);
    }
    let mut fifth = repository.blob(&layer);
    assert!(futures::poll!(Box::pin(fifth.next())).is_pending());
    drop(open.pop());
    fifth.next().await.expect("blob");
    assert_eq!(fake.seen().len(), 5);
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("directory");
    let store = Store::open(StoreOptions {
        root: dir.path().join("root"),
    })
    .expect("store");
    (dir, store)
}

fn resume(seen: &Seen, number: usize, blob: &[u8]) -> Reply {
    let reply = Reply::part(seen, blob);
    if number == 0 {
        reply.close_after(100_000)
    } else {
        reply
    }
}

#[tokio::test]
async fn a_blob_lands_in_the_content_store() {
    let blob = noise(SIZE);
    let (layer, sent) = (layer_of(&blob), blob.clone());
    let fake = Fake::start(move |seen, number| resume(seen, number, &sent)).await;
    let (_dir, store) = store();
    let _lease = store.lease().expect("lease");
    let told = Arc::new(AtomicU64::new(0));
    let progress = |done| told.store(done, Ordering::Relaxed);
    let repository = repository(&fake.host);
    repository
        .fetch_blob(&layer, store.content(), &progress)
        .await
        .expect("fetch");
    assert_eq!(
        store
            .content()
            .read(layer.digest(), u64::MAX)
            .expect("read"),
        blob
    );
    assert_eq!(told.load(Ordering::Relaxed), SIZE as u64);
    repository
        .fetch_blob(&layer, store.content(), &progress)
        .await
        .expect("fetch");
    assert_eq!(fake.seen().len(), 2, "what is there is not fetched again");
}

#[tokio::test]
async fn wrong_content_does_not_land_in_the_content_store() {
    let layer = layer_of(&noise(SIZE));
    let fake = Fake::start(|_, _| Reply::ok(vec![0; SIZE])).await;
    let (_dir, store) = store();
    let error = repository(&fake.host)
        .fetch_blob(&layer, store.content(), &|_| {})
        .await
        .expect_err("must fail");
    assert!(
        matches!(error, RegistryError::DigestMismatch { .. }),
        "{error}"
    );
    assert!(!store.content().exists(layer.digest()).expect("exists"));
}
