//! What is said of an image beside it, for policies that look at signatures and provenance.

use kiln_protocol::frontend::{
    AttestationChain as WireChain, Blob, Descriptor, ResolveSourceImageRequest,
};
use kiln_source::{AttestationChain, ImageIdentifier};

use super::{WantedImage, invalid};
use crate::bridge::Bridge;
use crate::error::BuildError;
use crate::ops::source::source_error;
use crate::step::Step;

/// Attestations that somebody wants to see.
pub(super) struct AttestationsWanted {
    /// Beside those who signed them, the ones of these types themselves.
    predicate_types: Vec<String>,
}

impl AttestationsWanted {
    /// `None` if nobody does.
    pub(super) fn of(request: &ResolveSourceImageRequest) -> Option<Self> {
        let predicate_types = request.resolve_attestations.clone();
        let is_wanted = request.attestation_chain || !predicate_types.is_empty();
        is_wanted.then_some(Self { predicate_types })
    }
}

impl Bridge {
    /// Follows an image in a registry to its attestations.
    pub(super) async fn attestation_chain(
        &self,
        image: WantedImage,
        wanted: AttestationsWanted,
    ) -> Result<Option<WireChain>, BuildError> {
        let Some(name) = image.identifier.strip_prefix("docker-image://") else {
            return Err(invalid(format!(
                "source {:?}: attestations are looked up of images in registries only",
                image.identifier
            )));
        };
        let identifier = ImageIdentifier::parse(name, &image.attributes, image.platform);
        let identifier = identifier.map_err(source_error)?;
        let name = format!("resolve attestations of {}", image.identifier);
        let step = Step::start(&self.progress, &name);
        let images = &self.engine.worker.sources.images;
        let chain = images.attestations(&identifier, &wanted.predicate_types, &self.session);
        let chain = chain.await.map_err(source_error);
        Ok(step.finish(chain)?.map(to_wire))
    }
}

fn to_wire(chain: AttestationChain) -> WireChain {
    let blobs = chain.blobs.into_iter().map(|(descriptor, data)| {
        let digest = descriptor.digest().to_string();
        let annotations = descriptor.annotations().clone().unwrap_or_default();
        let blob = Blob {
            descriptor: Some(Descriptor {
                media_type: descriptor.media_type().to_string(),
                digest: digest.clone(),
                size: i64::try_from(descriptor.size()).unwrap_or(i64::MAX),
                annotations: annotations.into_iter().collect(),
            }),
            data,
        };
        (digest, blob)
    });
    let signatures = chain.signature_manifests.iter();
    WireChain {
        root: chain.root.to_string(),
        image_manifest: chain.image_manifest.to_string(),
        attestation_manifest: chain
            .attestation_manifest
            .map_or(String::new(), |digest| digest.to_string()),
        signature_manifests: signatures.map(ToString::to_string).collect(),
        blobs: blobs.collect(),
    }
}
