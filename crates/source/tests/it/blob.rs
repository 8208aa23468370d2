//! Single blobs as files.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

use kiln_registry::{Client, ClientOptions};
use kiln_session::{LentLayout, Session};
use kiln_source::{BlobIdentifier, ImageSource, LayoutSource, SourceError};
use kiln_store::Ref;
use kiln_testkit::image::Image;
use kiln_testkit::registry::Registry;
use kiln_testkit::rootfs;
use sha2::{Digest as _, Sha256};

use crate::{Fixture, unwatched};

/// The digest of nothing.
const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn attributes(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    let all = all.iter();
    all.map(|(name, value)| ((*name).into(), (*value).into()))
        .collect()
}

/// The only file of a tree: name, mode, owner, group, time and content.
fn only_file(fixture: &Fixture, tree: &Ref) -> (String, u32, u32, u32, i64, Vec<u8>) {
    let mounted = fixture.store.mount(&tree.mounts().unwrap()).unwrap();
    let entries = std::fs::read_dir(mounted.path()).unwrap();
    let [entry] = <[_; 1]>::try_from(entries.map(Result::unwrap).collect::<Vec<_>>()).unwrap();
    let found = entry.metadata().unwrap();
    (
        entry.file_name().into_string().unwrap(),
        found.mode() & 0o7777,
        found.uid(),
        found.gid(),
        found.mtime(),
        std::fs::read(entry.path()).unwrap(),
    )
}

#[tokio::test]
async fn blobs_are_had_from_registries_and_layouts() {
    let fixture = Fixture::new();
    let directory = fixture.directory("layer");
    rootfs::files(&directory, &[("name", "content")]).unwrap();
    let image = Image::new().layer(directory).platform("linux/amd64");
    let layout = fixture.directory("layout");
    let manifest = image.write(&layout, "v1").unwrap();
    let blob = |digest: &str| {
        let name = digest.strip_prefix("sha256:").unwrap();
        std::fs::read(layout.join("blobs/sha256").join(name)).unwrap()
    };
    let parsed: serde_json::Value = serde_json::from_slice(&blob(&manifest.digest)).unwrap();
    let layer = parsed["layers"][0]["digest"].as_str().unwrap();
    let registry = Registry::start().unwrap();
    // The layer is packed anew, with another digest.
    let pushed = registry.push_image(&image, "test/image:v1").unwrap();

    let client = Client::new(ClientOptions::default()).unwrap();
    let session = Session::empty();
    let images = ImageSource::new(fixture.store.clone(), client);
    // A manifest is a blob as well, though a registry keeps them apart.
    let get = async |digest: &str| {
        let text = format!("{}/test/image@{digest}", registry.host());
        let identifier = BlobIdentifier::in_registry(&text, &BTreeMap::new()).unwrap();
        let tree = images
            .blob(&identifier, &session, unwatched())
            .await
            .unwrap();
        let (name, mode, uid, gid, time, content) = only_file(&fixture, &tree);
        assert_eq!((mode, uid, gid, time), (0o600, 0, 0, 0));
        assert_eq!(format!("sha256:{name}"), digest);
        assert_eq!(hex::encode(Sha256::digest(&content)), name);
        content
    };
    let pushed: serde_json::Value = serde_json::from_slice(&get(&pushed.digest).await).unwrap();
    get(pushed["layers"][0]["digest"].as_str().unwrap()).await;
    let text = format!("{}/test/image@{EMPTY}", registry.host());
    let missing = BlobIdentifier::in_registry(&text, &BTreeMap::new()).unwrap();
    let error = images.blob(&missing, &session, unwatched()).await;
    assert!(error.unwrap_err().to_string().contains(EMPTY));

    // In a store of its own, so that it has to be read.
    let other = Fixture::new();
    let layouts = LayoutSource::new(other.store.clone());
    let wanted = attributes(&[
        ("oci.store", "store"),
        ("http.filename", "../layer.tar"),
        ("http.perm", "0640"),
        ("http.uid", "7"),
        ("http.gid", "8"),
    ]);
    let text = format!("any/name@{layer}");
    let identifier = BlobIdentifier::in_layout(&text, &wanted).unwrap();
    let lent = LentLayout::Here(layout.clone());
    let tree = layouts.blob(&identifier, &lent, unwatched()).await.unwrap();
    assert_eq!(
        only_file(&other, &tree),
        ("layer.tar".into(), 0o640, 7, 8, 0, blob(layer))
    );
    let text = format!("any/name@{EMPTY}");
    let missing = BlobIdentifier::in_layout(&text, &wanted).unwrap();
    let error = layouts
        .blob(&missing, &lent, unwatched())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("is not in the layout"),
        "{error}"
    );
}

/// The text is the one that BuildKit hashes.
#[test]
fn keys_say_what_the_file_is() {
    let all = attributes(&[
        ("http.filename", "a<b"),
        ("http.perm", "0644"),
        ("http.uid", "1"),
        ("http.gid", "2"),
    ]);
    let identifier = BlobIdentifier::in_registry(&format!("host/name@{EMPTY}"), &all).unwrap();
    let key = identifier.cache_key().unwrap();
    // {"Digest":"sha256:e3b0…","Filename":"a\u003cb","Perm":420,"UID":1,"GID":2}
    assert_eq!(
        key.key,
        "sha256:28b467834a27af0d708db086d1da3ebbe9e38fc2bfda6ea551961b1779275521"
    );
    assert_eq!((key.pin.as_str(), key.more), (EMPTY, false));
}

#[test]
fn what_names_no_blob_is_refused() {
    let check = |result: Result<BlobIdentifier, SourceError>, part: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let blob = format!("host/name@{EMPTY}");
    let none = BTreeMap::new();
    check(
        BlobIdentifier::in_registry("host/name:tag", &none),
        "a blob is named by its digest",
    );
    check(
        BlobIdentifier::in_layout(&blob, &none),
        "oci-layout blob source requires store id",
    );
    let perm = attributes(&[("http.perm", "rw")]);
    check(BlobIdentifier::in_registry(&blob, &perm), "http.perm");
}
