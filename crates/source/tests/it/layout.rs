//! Images of OCI layouts.

use std::collections::BTreeMap;
use std::path::Path;

use kiln_llb::platform::platform;
use kiln_session::LentLayout;
use kiln_source::{Image, LayoutIdentifier, LayoutSource, SourceError};
use kiln_testkit::image::{Image as Fake, write_index};
use kiln_testkit::rootfs;

use crate::{Fixture, unwatched};

async fn open(fixture: &Fixture, layout: &Path, name: &str) -> Result<Image, SourceError> {
    let attributes = BTreeMap::from([("oci.store".to_owned(), "store".to_owned())]);
    let identifier = LayoutIdentifier::parse(name, &attributes, platform("linux", "amd64", ""))?;
    assert_eq!(identifier.store_id, "store");
    LayoutSource::new(fixture.store.clone())
        .open(
            &identifier,
            &LentLayout::Here(layout.to_owned()),
            unwatched(),
        )
        .await
}

fn image(fixture: &Fixture, name: &str) -> Fake {
    let directory = fixture.directory(name);
    rootfs::files(&directory, &[("name", name)]).expect("files");
    Fake::new().layer(directory).platform("linux/amd64")
}

#[tokio::test]
async fn by_digest_and_by_tag() {
    let fixture = Fixture::new();
    let layout = fixture.directory("layout");
    let one = image(&fixture, "one").write(&layout, "v1").expect("write");
    let two = image(&fixture, "two").write(&layout, "v2").expect("write");
    for (name, expected) in [
        (format!("any/name@{}", one.digest), &one),
        (format!("any/name@{}", two.digest), &two),
        ("any/name:v1".to_owned(), &one),
        ("any/name:v2".to_owned(), &two),
        // The digest decides.
        (format!("any/name:v1@{}", two.digest), &two),
    ] {
        let opened = open(&fixture, &layout, &name).await.expect(&name);
        assert_eq!(opened.digest().as_ref(), expected.digest, "{name}");
    }
    let snapshot = open(&fixture, &layout, "x:v1")
        .await
        .expect("open")
        .snapshot()
        .expect("snapshot")
        .expect("layers");
    snapshot.materialize().await.expect("materialize");
    let mounted = fixture
        .store
        .mount(&snapshot.mounts().expect("mounts"))
        .expect("mount");
    assert_eq!(
        std::fs::read_to_string(mounted.path().join("name")).expect("read"),
        "one"
    );
}

#[tokio::test]
async fn an_index_by_platform() {
    let fixture = Fixture::new();
    let layout = fixture.directory("layout");
    let images = [
        image(&fixture, "amd"),
        image(&fixture, "arm").platform("linux/arm64"),
    ];
    let index = write_index(&layout, "all", &images).expect("write");
    let opened = open(&fixture, &layout, "x:all").await.expect("open");
    assert_eq!(opened.digest().as_ref(), index.digest);
    let config: serde_json::Value = serde_json::from_slice(opened.config()).expect("JSON");
    assert_eq!(config["architecture"], "amd64");
}

#[tokio::test]
async fn what_is_not_there() {
    let fixture = Fixture::new();
    let layout = fixture.directory("layout");
    let one = image(&fixture, "one").write(&layout, "v1").expect("write");
    let check = async |name: &str, expected: &str| {
        let error = open(&fixture, &layout, name)
            .await
            .map(drop)
            .expect_err(name)
            .to_string();
        assert_eq!(
            error,
            format!("OCI layout {}: {expected}", layout.display())
        );
    };
    check("x:v2", "no image is tagged \"v2\"; its tags: v1").await;
    let zeros = format!("sha256:{}", "0".repeat(64));
    check(
        &format!("x@{zeros}"),
        &format!("manifest {zeros}: No such file or directory (os error 2)"),
    )
    .await;
    let missing = fixture.directory("empty");
    let error = open(&fixture, &missing, "x:v1")
        .await
        .map(drop)
        .expect_err("empty")
        .to_string();
    assert!(
        error.ends_with("index.json: No such file or directory (os error 2)"),
        "{error}"
    );
    // A blob that is not what its name says.
    let manifest = layout.join("blobs").join(one.digest.replace(':', "/"));
    let text = std::fs::read_to_string(&manifest).expect("read");
    std::fs::write(&manifest, format!("{text} ")).expect("write");
    let error = open(&fixture, &layout, &format!("x@{}", one.digest))
        .await
        .map(drop)
        .expect_err("damaged");
    assert!(matches!(error, SourceError::LayoutDigest { .. }), "{error}");
}

#[tokio::test]
async fn a_layer_that_is_damaged_is_refused() {
    let fixture = Fixture::new();
    let layout = fixture.directory("layout");
    image(&fixture, "one").write(&layout, "v1").expect("write");
    let opened = open(&fixture, &layout, "x:v1").await.expect("open");
    let digest = opened
        .layers()
        .next()
        .expect("a layer")
        .digest()
        .to_string();
    std::fs::write(layout.join("blobs").join(digest.replace(':', "/")), "junk").expect("write");
    let error = opened
        .snapshot()
        .expect("snapshot")
        .expect("layers")
        .materialize()
        .await
        .expect_err("must fail");
    assert!(error.to_string().contains(&digest), "{error}");
}
