//! Blobs: written, continued, read, labelled, and kept by leases.

use std::sync::Mutex;

use futures::future::join_all;
use kiln_protocol::content::content_client::ContentClient;
use kiln_protocol::content::{WriteAction, WriteContentRequest};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use crate::scene::{Scene, blob, digest, noise};

fn ignore(_: u64) {}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_comes_back_as_it_was() {
    let scene = Scene::new();
    let content = scene.containerd.content();
    for bytes in [Vec::new(), b"x".to_vec(), noise(3 << 20)] {
        let mut blob = blob(&bytes);
        blob.labels = [("a".to_owned(), "1".to_owned())].into();
        let lease = scene.lease().await;
        let held = scene.containerd.under(&lease).content();
        assert_eq!(held.info(&blob.digest).await.unwrap(), None);
        held.write(&blob, &ignore).await.unwrap();
        // There already: gets what is new of the labels.
        blob.labels = [("b".to_owned(), "2".to_owned())].into();
        held.write(&blob, &ignore).await.unwrap();

        let info = content.info(&blob.digest).await.unwrap().unwrap();
        assert_eq!(info.size, bytes.len() as u64);
        let labels = info.labels.iter().map(|(key, value)| (&**key, &**value));
        assert_eq!(labels.collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        let read = content.read_all(&blob.digest, bytes.len()).await.unwrap();
        assert_eq!(read, bytes);
        if bytes.len() > 1 {
            let error = content.read_all(&blob.digest, bytes.len() - 1).await;
            let error = error.unwrap_err().to_string();
            assert!(error.contains("longer than"), "{error}");
        }
        let filter = format!("digest=={}", blob.digest);
        let listed = content.list(&[&filter]).await.unwrap();
        assert_eq!(listed, [info]);
        content.delete(&blob.digest).await.unwrap();
        assert_eq!(content.info(&blob.digest).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_of_one_blob_write_it_once() {
    let scene = Scene::new();
    let lease = scene.lease().await;
    let content = scene.containerd.under(&lease).content();
    let blob = blob(&noise(8 << 20));
    let writers = (0..8).map(|_| content.write(&blob, &ignore));
    for outcome in join_all(writers).await {
        outcome.unwrap();
    }
    assert_eq!(scene.blobs(), [blob.digest.to_string()]);
}

#[tokio::test]
async fn a_blob_of_other_content_is_refused() {
    let scene = Scene::new();
    let mut blob = blob(b"this");
    blob.digest = digest(b"that");
    let content = scene.containerd.content();
    let error = content.write(&blob, &ignore).await.unwrap_err().to_string();
    assert!(error.contains("unexpected commit digest"), "{error}");
    assert_eq!(scene.blobs(), [""; 0]);
}

async fn raw(scene: &Scene) -> ContentClient<Channel> {
    let socket = scene.server.socket();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move {
            let stream = tokio::net::UnixStream::connect(socket).await;
            stream.map(hyper_util::rt::TokioIo::new)
        }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    ContentClient::new(endpoint.connect_with_connector(connector).await.unwrap())
}

/// Leaves the beginning of a blob with containerd, as a writer that died does.
async fn leave(scene: &Scene, blob: &kiln_containerd::BlobToWrite, beginning: &[u8]) {
    let mut client = raw(scene).await;
    let (messages, receiver) = tokio::sync::mpsc::channel(4);
    let message = WriteContentRequest {
        action: WriteAction::Write.into(),
        r#ref: format!("kiln-{}", blob.digest),
        total: blob.size as i64,
        expected: blob.digest.to_string(),
        data: beginning.to_vec().into(),
        ..WriteContentRequest::default()
    };
    messages.send(message).await.unwrap();
    let mut request = Request::new(ReceiverStream::new(receiver));
    let namespace = "buildkit".parse().unwrap();
    request
        .metadata_mut()
        .insert("containerd-namespace", namespace);
    let mut answers = client.write(request).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!(answer.offset, beginning.len() as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_blob_is_continued() {
    let scene = Scene::new();
    let bytes = noise(4 << 20);
    let blob = blob(&bytes);
    let half = bytes.len() / 2;
    leave(&scene, &blob, &bytes[..half]).await;
    let seen = Mutex::new(Vec::new());
    let lease = scene.lease().await;
    let content = scene.containerd.under(&lease).content();
    let progress = |done| seen.lock().unwrap().push(done);
    content.write(&blob, &progress).await.unwrap();
    let first = seen.lock().unwrap()[0];
    assert!(first > half as u64, "it began at {first}");
    let read = content.read_all(&blob.digest, bytes.len()).await.unwrap();
    assert_eq!(read, bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_blob_that_is_wrong_is_written_anew() {
    let scene = Scene::new();
    let bytes = noise(2 << 20);
    let blob = blob(&bytes);
    leave(&scene, &blob, b"something else").await;
    let lease = scene.lease().await;
    let content = scene.containerd.under(&lease).content();
    content.write(&blob, &ignore).await.unwrap();
    let read = content.read_all(&blob.digest, bytes.len()).await.unwrap();
    assert_eq!(read, bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_live_as_long_as_their_lease() {
    let scene = Scene::new();
    let (held, dropped) = (scene.lease().await, scene.lease().await);
    let (one, other, old) = (blob(b"one"), blob(b"other"), blob(b"old"));
    for (lease, blob) in [(&held, &one), (&dropped, &other), (&dropped, &old)] {
        let content = scene.containerd.under(lease).content();
        content.write(blob, &ignore).await.unwrap();
    }
    held.hold_blob(&old.digest).await.unwrap();
    dropped.release().await.unwrap();
    scene.collect();
    let mut left = scene.blobs();
    left.sort();
    let mut expected = [one.digest.to_string(), old.digest.to_string()];
    expected.sort();
    assert_eq!(left, expected);
    held.release().await.unwrap();
    scene.collect();
    assert_eq!(scene.blobs(), [""; 0]);
}
