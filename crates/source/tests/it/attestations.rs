//! Images with attestations, and signatures of those, in a real registry.

use std::collections::BTreeMap;

use kiln_llb::platform::platform;
use kiln_registry::{Client, ClientOptions};
use kiln_session::Session;
use kiln_source::{AttestationChain, ImageIdentifier, ImageSource};
use kiln_testkit::image::{Image, descriptor, write_blob};
use kiln_testkit::registry::Registry;
use kiln_testkit::rootfs;
use serde_json::{Value, json};

use crate::Fixture;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const COSIGN: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
const SBOM: &str = "https://spdx.dev/Document";

const REPOSITORY: &str = "test/image";

struct World {
    registry: Registry,
    source: ImageSource,
    fixture: Fixture,
}

impl World {
    fn new() -> Self {
        let fixture = Fixture::new();
        let client = Client::new(ClientOptions::default()).unwrap();
        Self {
            registry: Registry::start().unwrap(),
            source: ImageSource::new(fixture.store.clone(), client),
            fixture,
        }
    }

    fn image(&self) -> Image {
        let directory = self.fixture.directory("files");
        rootfs::files(&directory, &[("f", "text")]).unwrap();
        Image::new().layer(directory).platform("linux/amd64")
    }

    fn blob(&self, kind: &str, text: &str) -> Value {
        let blob = self.registry.push_blob(REPOSITORY, text.as_bytes());
        descriptor(kind, &blob)
    }

    /// A manifest or an index, by its digest if it has no other name.
    fn document(&self, kind: &str, name: &str, document: &Value) -> Value {
        let text = document.to_string();
        let blob = write_blob(self.fixture.directory("blobs"), text.as_bytes()).unwrap();
        let name = if name.is_empty() { &blob.digest } else { name };
        self.registry.push_manifest(REPOSITORY, name, kind, &text);
        descriptor(kind, &blob)
    }

    /// A manifest over blobs that are no layers.
    fn artifact(&self, kind: &str, layers: &[Value]) -> Value {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": self.blob("application/vnd.oci.empty.v1+json", "{}"),
            "layers": layers,
        });
        let mut found = self.document(MANIFEST, "", &manifest);
        found["artifactType"] = json!(kind);
        found
    }

    fn push_index(&self, manifests: &[Value], tag: &str) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        self.document(INDEX, tag, &index)
    }

    async fn look_up(&self, predicate_types: &[&str]) -> Option<AttestationChain> {
        let name = format!("{}/test/image:v1", self.registry.host());
        let wanted = platform("linux", "amd64", "");
        let identifier = ImageIdentifier::parse(&name, &BTreeMap::new(), wanted).unwrap();
        let session = Session::empty();
        let types: Vec<_> = predicate_types.iter().map(|it| (*it).to_owned()).collect();
        let chain = self.source.attestations(&identifier, &types, &session);
        chain.await.unwrap()
    }
}

fn digest(descriptor: &Value) -> String {
    descriptor["digest"].as_str().unwrap().to_owned()
}

fn digests(chain: &AttestationChain) -> Vec<String> {
    let blobs = chain.blobs.iter();
    blobs.map(|(it, _)| it.digest().to_string()).collect()
}

#[tokio::test]
async fn a_name_leads_to_signatures() {
    let world = World::new();
    let image = world
        .registry
        .push_image(&world.image(), "test/image:alone")
        .unwrap();
    let mut image = descriptor(MANIFEST, &image);
    image["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let statement = |kind: &str, text: &str| {
        let mut blob = world.blob("application/vnd.in-toto+json", text);
        blob["annotations"] = json!({"in-toto.io/predicate-type": kind});
        blob
    };
    let (provenance, sbom) = (
        statement(PROVENANCE, "{\"p\":1}"),
        statement(SBOM, "{\"s\":1}"),
    );
    let mut attestation = world.artifact("x/y", &[provenance.clone(), sbom]);
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    attestation["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": digest(&image),
    });
    let index = world.push_index(&[image.clone(), attestation.clone()], "v1");

    let chain = world.look_up(&[]).await.unwrap();
    assert_eq!(chain.root.to_string(), digest(&index));
    assert_eq!(chain.image_manifest.to_string(), digest(&image));
    assert_eq!(
        chain.attestation_manifest.as_ref().unwrap().to_string(),
        digest(&attestation)
    );
    assert!(chain.signature_manifests.is_empty());
    assert_eq!(digests(&chain), [digest(&index), digest(&attestation)]);

    let (old, bundle) = (world.blob("a/b", "old"), world.blob("a/b", "bundle"));
    let signatures = [
        world.artifact("other/kind", &[]),
        world.artifact(COSIGN, &[old]),
        world.artifact(BUNDLE, std::slice::from_ref(&bundle)),
    ];
    let tag = digest(&attestation).replace(':', "-");
    world.push_index(&signatures, &tag);
    let chain = world.look_up(&[PROVENANCE]).await.unwrap();
    let signed = digest(&signatures[2]);
    assert_eq!(chain.signature_manifests[0].to_string(), signed);
    let expected = [
        digest(&index),
        digest(&attestation),
        signed,
        digest(&bundle),
        digest(&provenance),
    ];
    assert_eq!(digests(&chain), expected);
    assert_eq!(chain.blobs[4].1, "{\"p\":1}");
}

#[tokio::test]
async fn images_without_an_index_have_none() {
    let world = World::new();
    world
        .registry
        .push_image(&world.image(), "test/image:v1")
        .unwrap();
    assert_eq!(world.look_up(&[PROVENANCE]).await, None);
}
