//! Images of OCI layouts that a client on another machine lends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use kiln_llb::platform::platform;
use kiln_session::content::{stream_of_bytes, stream_of_file};
use kiln_session::{BlobStream, LentLayout, RemoteContent, SessionError};
use kiln_source::{Image, LayoutIdentifier, LayoutSource, SourceError};
use kiln_testkit::image::Image as Fake;
use kiln_testkit::rootfs;
use oci_spec::image::Digest;
use rstest::rstest;

use crate::{Fixture, unwatched};

/// What a client does with a blob that is not a manifest.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Layers {
    Honest,
    Changed,
    TooShort,
    Endless,
    BreakOff,
}

/// A client whose layout is a directory.
struct Client {
    directory: PathBuf,
    layers: Layers,
    small: u64,
    is_gone: AtomicBool,
}

fn gone() -> SessionError {
    SessionError::Gone {
        id: "session".into(),
        what: "blob".into(),
    }
}

#[async_trait]
impl RemoteContent for Client {
    fn name(&self) -> &str {
        "client's store"
    }

    fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }

    async fn size(&self, _: &Digest) -> Result<Option<u64>, SessionError> {
        Ok(None)
    }

    async fn read(&self, digest: &Digest, _: u64) -> Result<BlobStream, SessionError> {
        if self.is_gone() {
            return Err(gone());
        }
        let path = self.directory.join("blobs/sha256").join(digest.digest());
        let bytes = std::fs::read(&path).map_err(|source| SessionError::Path {
            path: path.clone(),
            source,
        })?;
        if bytes.len() as u64 <= self.small {
            return Ok(stream_of_bytes(bytes.into()));
        }
        Ok(match self.layers {
            Layers::Honest => stream_of_file(std::fs::File::open(path).expect("open")),
            Layers::Changed => stream_of_bytes(bytes.iter().map(|byte| byte ^ 1).collect()),
            Layers::TooShort => stream_of_bytes(Bytes::from(bytes).slice(1..)),
            Layers::Endless => {
                futures::stream::repeat_with(|| Ok(Bytes::from_static(&[0; 4096]))).boxed()
            }
            Layers::BreakOff => {
                let half = Bytes::from(bytes).slice(..10);
                futures::stream::iter([Ok(half), Err(gone())]).boxed()
            }
        })
    }

    async fn write(&self, _: &Digest, _: u64, _: BlobStream) -> Result<(), SessionError> {
        Err(gone())
    }
}

struct Setup {
    fixture: Fixture,
    client: Arc<Client>,
    digest: String,
}

impl Setup {
    fn new(layers: Layers) -> Self {
        let fixture = Fixture::new();
        let (layout, files) = (fixture.directory("layout"), fixture.directory("files"));
        // Not to be compressed, so that the layer is larger than manifest and config.
        let mut state = 1u32;
        let noise: String = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'!' + (state >> 24) as u8 % 90)
        })
        .take(20_000)
        .collect();
        rootfs::files(&files, &[("name", "one"), ("noise", &noise)]).expect("files");
        let image = Fake::new().layer(files).platform("linux/amd64");
        let written = image.write(&layout, "v1").expect("write");
        Self {
            fixture,
            client: Arc::new(Client {
                directory: layout,
                layers,
                small: 2000,
                is_gone: AtomicBool::new(false),
            }),
            digest: written.digest,
        }
    }

    async fn open(&self, name: &str) -> Result<Image, SourceError> {
        let attributes = BTreeMap::from([("oci.store".to_owned(), "store".to_owned())]);
        let platform = platform("linux", "amd64", "");
        let identifier = LayoutIdentifier::parse(name, &attributes, platform)?;
        let lent = LentLayout::Remote(Arc::clone(&self.client) as _);
        LayoutSource::new(self.fixture.store.clone())
            .open(&identifier, &lent, unwatched())
            .await
    }

    async fn open_by_digest(&self) -> Image {
        self.open(&format!("any/name@{}", self.digest))
            .await
            .expect("open")
    }
}

#[tokio::test]
async fn an_image_is_had_by_digest() {
    let setup = Setup::new(Layers::Honest);
    let image = setup.open_by_digest().await;
    let snapshot = image.snapshot().expect("snapshot").expect("layers");
    snapshot.materialize().await.expect("materialize");
    let mounts = snapshot.mounts().expect("mounts");
    let mounted = setup.fixture.store.mount(&mounts).expect("mount");
    assert_eq!(
        std::fs::read_to_string(mounted.path().join("name")).expect("read"),
        "one"
    );
    let error = setup
        .open("any/name:v1")
        .await
        .map(drop)
        .expect_err("a tag");
    assert!(error.to_string().contains("must have digest"), "{error}");
    let zeros = format!("any/name@sha256:{}", "0".repeat(64));
    setup
        .open(&zeros)
        .await
        .map(drop)
        .expect_err("nothing there");
}

#[rstest]
#[case(Layers::Changed)]
#[case(Layers::TooShort)]
#[case(Layers::Endless)]
#[case(Layers::BreakOff)]
#[tokio::test]
async fn layers_are_not_trusted(#[case] layers: Layers) {
    let setup = Setup::new(layers);
    let image = setup.open_by_digest().await;
    let layer = image.layers().next().expect("a layer").digest().clone();
    let snapshot = image.snapshot().expect("snapshot").expect("layers");
    let error = snapshot.materialize().await.map(drop).expect_err("a lie");
    let kept = setup.fixture.store.content().exists(&layer).expect("look");
    assert!(!kept, "{layers:?} is kept: {error}");
}

#[tokio::test]
async fn layers_of_a_client_that_left_are_no_result() {
    let setup = Setup::new(Layers::Honest);
    let image = setup.open_by_digest().await;
    let snapshot = image.snapshot().expect("snapshot").expect("layers");
    assert!(snapshot.unfetchable().expect("layers").is_empty());
    setup.client.is_gone.store(true, Ordering::Relaxed);
    assert_eq!(snapshot.unfetchable().expect("layers").len(), 1);
    snapshot
        .materialize()
        .await
        .map(drop)
        .expect_err("nobody has it");
}
