//! What is said of an image beside it: the manifest of its attestations, and whose signatures that has.
//!
//! The manifest stands in the image's index (BuildKit's `attestation-storage.md`); signatures refer to it (OCI
//! distribution 1.1, referrers). Nothing is verified here: that is for whoever asks.

use bytes::Bytes;
use kiln_registry::{ManifestKind, Repository, detect_manifest_media_type};
use kiln_session::Session;
use oci_spec::image::{Descriptor, Digest, ImageIndex, ImageManifest, MediaType};
use serde::de::DeserializeOwned;

use super::identifier::ImageIdentifier;
use super::manifest;
use super::origin::{Origin, Place};
use super::source::ImageSource;
use crate::error::SourceError;

const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
const ATTESTATION: &str = "attestation-manifest";
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";

/// Signatures, the preferred kind first.
const SIGNATURES: [&str; 2] = [
    "application/vnd.dev.sigstore.bundle.v0.3+json",
    "application/vnd.dev.cosign.artifact.sig.v1+json",
];

const IN_TOTO: &str = "application/vnd.in-toto+json";
const PROVENANCE: [&str; 2] = [
    "https://slsa.dev/provenance/v0.2",
    "https://slsa.dev/provenance/v1",
];

/// The documents that lead from an image's name to those who signed what is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationChain {
    /// The index that the name stands for.
    pub root: Digest,
    /// The image for the platform; it is not among [`AttestationChain::blobs`].
    pub image_manifest: Digest,
    /// What is said of it.
    pub attestation_manifest: Option<Digest>,
    /// Who signed that.
    pub signature_manifests: Vec<Digest>,
    /// The index, the manifests, the signatures and the attestations that were asked for.
    pub blobs: Vec<(Descriptor, Bytes)>,
}

impl ImageSource {
    /// Follows an image to its attestations, with those of the given predicate types. An image that is no OCI index
    /// has none.
    pub async fn attestations(
        &self,
        identifier: &ImageIdentifier,
        predicate_types: &[String],
        session: &Session,
    ) -> Result<Option<AttestationChain>, SourceError> {
        let (origin, root) = self.locate(identifier, session).await?;
        let bytes = origin.manifest(&root).await?;
        let is_index = matches!(
            detect_manifest_media_type(&bytes),
            Ok((ManifestKind::Index, _))
        );
        if !is_index || root.media_type() != &MediaType::ImageIndex {
            return Ok(None);
        }
        let walk = Walk {
            origin: &origin,
            name: identifier.reference.to_string(),
        };
        let index: ImageIndex = walk.parse(&bytes, &root)?;
        let image = manifest::select(&origin, &index, root.digest(), &identifier.platform).await?;
        let mut chain = AttestationChain {
            root: root.digest().clone(),
            image_manifest: image.digest().clone(),
            attestation_manifest: None,
            signature_manifests: Vec::new(),
            blobs: vec![(root, bytes)],
        };
        if let Some(attestation) = walk.attestation(&index, &image).await? {
            walk.add_attestation(&mut chain, attestation, predicate_types)
                .await?;
        }
        Ok(Some(chain))
    }
}

/// Where the documents of an image are.
struct Walk<'a> {
    origin: &'a Origin,
    name: String,
}

impl Walk<'_> {
    /// The manifest of an image's attestations. Docker's hardened images have it as a referrer.
    async fn attestation(
        &self,
        index: &ImageIndex,
        image: &Descriptor,
    ) -> Result<Option<Descriptor>, SourceError> {
        if !is_hardened(index) {
            let is_meant = |entry: &&Descriptor| {
                annotation(entry, REFERENCE_TYPE) == Some(ATTESTATION)
                    && annotation(entry, REFERENCE_DIGEST) == Some(image.digest().as_ref())
            };
            return Ok(index.manifests().iter().find(is_meant).cloned());
        }
        let mut found = self.referrers(image.digest(), Some(IN_TOTO)).await?;
        found.retain(|it| {
            annotation(it, PREDICATE_TYPE).is_some_and(|kind| PROVENANCE.contains(&kind))
        });
        match found.into_iter().next() {
            Some(first) => Ok(Some(first)),
            None => Err(self.invalid(format!(
                "no attestation referrers found for DHI manifest {}",
                image.digest()
            ))),
        }
    }

    async fn add_attestation(
        &self,
        chain: &mut AttestationChain,
        attestation: Descriptor,
        predicate_types: &[String],
    ) -> Result<(), SourceError> {
        let bytes = self.origin.manifest(&attestation).await?;
        let manifest: ImageManifest = self.parse(&bytes, &attestation)?;
        chain.attestation_manifest = Some(attestation.digest().clone());
        let signature = self.signature(attestation.digest()).await?;
        chain.blobs.push((attestation, bytes));
        if let Some(signature) = signature {
            let bytes = self.origin.manifest(&signature).await?;
            let of_signature: ImageManifest = self.parse(&bytes, &signature)?;
            chain.signature_manifests.push(signature.digest().clone());
            chain.blobs.push((signature, bytes));
            for layer in of_signature.layers() {
                self.add_blob(chain, layer).await?;
            }
        }
        for layer in manifest.layers() {
            let kind = annotation(layer, PREDICATE_TYPE);
            let is_wanted = |kind: &str| predicate_types.iter().any(|wanted| wanted == kind);
            if kind.is_some_and(is_wanted) {
                self.add_blob(chain, layer).await?;
            }
        }
        Ok(())
    }

    /// The signature of a manifest, if somebody signed it; one is enough.
    async fn signature(&self, digest: &Digest) -> Result<Option<Descriptor>, SourceError> {
        // Not all registries can filter, so everything is asked for.
        let found = self.referrers(digest, None).await?;
        let rank = |it: &Descriptor| {
            let kind = it.artifact_type().as_ref()?;
            SIGNATURES.iter().position(|known| *known == kind.as_ref())
        };
        let ranked = found.into_iter().filter_map(|it| Some((rank(&it)?, it)));
        Ok(ranked.min_by_key(|(rank, _)| *rank).map(|(_, it)| it))
    }

    async fn add_blob(
        &self,
        chain: &mut AttestationChain,
        descriptor: &Descriptor,
    ) -> Result<(), SourceError> {
        let is_there = chain
            .blobs
            .iter()
            .any(|(it, _)| it.digest() == descriptor.digest());
        if !is_there {
            let bytes = self.origin.config(descriptor).await?;
            chain.blobs.push((descriptor.clone(), bytes));
        }
        Ok(())
    }

    async fn referrers(
        &self,
        digest: &Digest,
        kind: Option<&str>,
    ) -> Result<Vec<Descriptor>, SourceError> {
        let repository: &Repository = match &self.origin.place {
            Place::Registry(repository) | Place::Containerd(_, repository) => repository,
            Place::Layout(_) | Place::Client(_) => return Ok(Vec::new()),
        };
        Ok(repository.referrers(digest, kind).await?)
    }

    fn parse<T: DeserializeOwned>(
        &self,
        bytes: &Bytes,
        descriptor: &Descriptor,
    ) -> Result<T, SourceError> {
        let parsed = serde_json::from_slice(bytes);
        parsed.map_err(|error| self.invalid(format!("{}: {error}", descriptor.digest())))
    }

    fn invalid(&self, reason: String) -> SourceError {
        SourceError::Image {
            reference: self.name.clone(),
            reason,
        }
    }
}

/// Whether an image is one of Docker's hardened ones, which keep attestations elsewhere.
fn is_hardened(index: &ImageIndex) -> bool {
    let title = index.annotations().as_ref();
    let title = title.and_then(|it| it.get("org.opencontainers.image.title"));
    let has_build = |entry: &Descriptor| {
        annotation(entry, "com.docker.dhi.build.id").is_some_and(|id| !id.is_empty())
    };
    title.is_some_and(|title| title.starts_with("dhi/")) && index.manifests().iter().all(has_build)
}

fn annotation<'a>(descriptor: &'a Descriptor, name: &str) -> Option<&'a str> {
    let annotations = descriptor.annotations().as_ref()?;
    annotations.get(name).map(String::as_str)
}
