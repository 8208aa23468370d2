//! What downloads contain: signatures of GnuPG, checksums.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kiln_registry::{Client, ClientOptions};
use kiln_source::{
    ChecksumAlgorithm, ChecksumRequest, DownloadProgress, HttpIdentifier, HttpSource, SourceError,
};
use kiln_testkit::keys::KeyRing;
use kiln_testkit::web::{Page, WebServer};

use crate::Fixture;

/// Of "text".
const DIGEST: &str = "sha256:982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1";

struct World {
    server: WebServer,
    source: HttpSource,
    _fixture: Fixture,
}

impl World {
    fn new() -> Self {
        let fixture = Fixture::new();
        let client = Client::new(ClientOptions::default()).unwrap();
        Self {
            source: HttpSource::new(fixture.store.clone(), client),
            server: WebServer::start().unwrap(),
            _fixture: fixture,
        }
    }

    fn identifier(&self, attributes: &[(&str, &str)]) -> HttpIdentifier {
        let url = self.server.url("/f");
        let attributes = attributes.iter();
        let attributes = attributes.map(|(name, value)| ((*name).into(), (*value).into()));
        let attributes: BTreeMap<String, String> = attributes.collect();
        HttpIdentifier::parse("http", url.strip_prefix("http://").unwrap(), &attributes).unwrap()
    }

    async fn get(&self, attributes: &[(&str, &str)]) -> Result<String, SourceError> {
        let identifier = self.identifier(attributes);
        let file = self.source.resolve(&identifier, &[], quiet()).await?;
        let tree = self
            .source
            .snapshot(&identifier, &file, &[], quiet())
            .await?;
        let place = tree.local_dir()?.unwrap().join("f");
        Ok(std::fs::read_to_string(place).unwrap())
    }

    async fn check(&self, attributes: &[(&str, &str)], expected: &str) {
        match self.get(attributes).await {
            Ok(text) => assert_eq!(text, expected),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(expected), "{text}");
            }
        }
    }
}

fn quiet() -> DownloadProgress {
    Arc::new(|_, _| {})
}

#[tokio::test]
async fn files_have_to_be_signed_if_that_is_wanted() {
    let world = World::new();
    let ring = KeyRing::new();
    let key = ring.generate("ed25519", "sign", "never");
    let stranger = ring.generate("ed25519", "sign", "never");
    let (keys, others) = (ring.export(&key), ring.export(&stranger));
    let signature = ring.sign(&key, b"text", &[]);
    let signature = ("http.sig.signature", signature.as_str());
    let keys = ("http.sig.pubkey", keys.as_str());
    let others = ("http.sig.pubkey", others.as_str());
    let page = |text| Page::new(text).header("ETag", "\"1\"");

    world.server.serve("/f", page("text"));
    world.check(&[keys, signature], "text").await;
    world
        .check(&[keys, signature, ("http.checksum", DIGEST)], "text")
        .await;
    world
        .check(&[others, signature], "signature made by unknown entity")
        .await;
    // The file is here, and nothing has changed.
    world
        .check(
            &[keys, ("http.sig.signature", "x")],
            "failed to decode armored signature",
        )
        .await;

    world.server.serve("/f", Page::new("test"));
    let error = "failed to verify pgp signature of http://127.0.0.1";
    world.check(&[keys, signature], error).await;
    world
        .check(&[keys, signature], "openpgp: invalid signature")
        .await;
}

#[tokio::test]
async fn what_has_not_changed_is_compared_with_the_checksum() {
    let world = World::new();
    world
        .server
        .serve("/f", Page::new("text").header("ETag", "\"1\""));
    world.check(&[], "text").await;
    world.check(&[("http.checksum", DIGEST)], "text").await;
    let other = DIGEST.replace("982d", "0000");
    world
        .check(&[("http.checksum", &other)], "digest mismatch")
        .await;
}

#[tokio::test]
async fn what_is_compressed_for_the_way_is_decompressed() {
    let world = World::new();
    let compressed = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\x2b\x49\xad\x28\x01\x00\xc7\xa7\x8b\x3b\x04\x00\x00\x00";
    let page = Page::new(&compressed[..]).header("Content-Encoding", "gzip");
    world.server.serve("/f", page);
    world.check(&[("http.checksum", DIGEST)], "text").await;
}

#[tokio::test]
async fn further_checksums_are_made() {
    let world = World::new();
    world.server.serve("/f", Page::new("text"));
    for (algorithm, suffix, expected) in [
        (ChecksumAlgorithm::Sha256, "", DIGEST),
        (
            ChecksumAlgorithm::Sha384,
            "",
            "sha384:313a7e3322ac655c276b3a0a9e6b27c448c5707b1b0e20037b42ab7761ba25162f7659d4ffe1eafd9966204c1b41fb73",
        ),
        (
            ChecksumAlgorithm::Sha512,
            "",
            "sha512:eaf2c12742cb8c161bcbd84b032b9bb98999a23282542672ca01cc6edd268f7dce9987ad6b2bc79305634f89d90b90102bcd59a57e7135b8e3ceb93c0597117b",
        ),
        (
            ChecksumAlgorithm::Sha256,
            "more",
            "sha256:320bd03050cc6f4a0ad9bd63b8b44008b580b591e871990c459f2d4d8663299a",
        ),
    ] {
        let request = ChecksumRequest {
            algorithm,
            suffix: Bytes::from(suffix),
        };
        let identifier = world.identifier(&[]);
        let made = world
            .source
            .checksum(&identifier, request, &[], quiet())
            .await;
        assert_eq!(made.unwrap(), expected);
    }
}
