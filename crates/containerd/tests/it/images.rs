//! Image names.

use std::collections::BTreeMap;

use kiln_containerd::{Collection, Image};
use oci_spec::image::{Descriptor, MediaType};

use crate::scene::{Scene, blob, digest};

fn image(name: &str, bytes: &[u8]) -> Image {
    Image {
        name: name.into(),
        labels: [("label".to_owned(), "value".to_owned())].into(),
        target: Descriptor::new(MediaType::ImageManifest, bytes.len() as u64, digest(bytes)),
    }
}

#[tokio::test]
async fn names_are_made_moved_and_taken_away() {
    let scene = Scene::new();
    let images = scene.containerd.images();
    let (one, two) = (image("a/b:c", b"one"), image("a/b:c", b"two"));
    assert_eq!(images.get("a/b:c").await.unwrap(), None);
    assert!(images.update(&one, None).await.unwrap_err().is_not_found());

    images.put(&one, Some(1_600_000_000)).await.unwrap();
    let error = images.create(&two, None).await.unwrap_err();
    assert!(error.is_already_exists(), "{error}");
    assert_eq!(images.get("a/b:c").await.unwrap(), Some(one));

    // Labels are the user's.
    let moved = Image {
        labels: BTreeMap::new(),
        ..two.clone()
    };
    images.put(&moved, None).await.unwrap();
    assert_eq!(images.list(&["name==a/b:c"]).await.unwrap(), [two]);
    assert_eq!(
        scene.server.ctr(&["images", "ls", "-q"]).unwrap(),
        "a/b:c\n"
    );

    images.delete("a/b:c", Collection::Now).await.unwrap();
    assert_eq!(images.list(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn what_a_name_stands_for_is_no_garbage() {
    let scene = Scene::new();
    let images = scene.containerd.images();
    let lease = scene.lease().await;
    let content = scene.containerd.under(&lease).content();
    let (one, two) = (blob(b"one"), blob(b"two"));
    for blob in [&one, &two] {
        content.write(blob, &|_| {}).await.unwrap();
    }
    images.put(&image("one", b"one"), None).await.unwrap();
    images.put(&image("two", b"two"), None).await.unwrap();
    lease.release().await.unwrap();
    images.delete("two", Collection::Now).await.unwrap();
    assert_eq!(scene.blobs(), [one.digest.to_string()]);
}
