//! What a source is, without fetching its files, in the gateway's terms.

mod attestations;
mod remote;

use std::collections::BTreeMap;

use kiln_llb::{pb, platform};
use kiln_protocol::frontend::{
    ResolveSourceImageResponse, ResolveSourceMetaRequest, ResolveSourceMetaResponse,
};
use kiln_source::{ImageIdentifier, LayoutIdentifier, ResolvedImage};
use oci_spec::image::Platform;

use crate::bridge::Bridge;
use crate::error::{BuildError, Kind};
use crate::ops::source::source_error;
use crate::remote_sources::{ObjectsWanted, Remote};
use attestations::AttestationsWanted;

/// An image to look up.
#[derive(Clone)]
pub(crate) struct WantedImage {
    /// `scheme://…`.
    pub(crate) identifier: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) platform: Platform,
    /// Name of the step; one is made up if it is empty.
    pub(crate) log_name: String,
}

/// What was found.
pub(crate) struct FoundImage {
    /// The identifier in full.
    pub(crate) identifier: String,
    pub(crate) image: ResolvedImage,
}

impl Bridge {
    /// Looks up what `request` asks about `source`, which the policies have judged.
    pub(crate) async fn describe(
        &self,
        source: pb::SourceOp,
        request: ResolveSourceMetaRequest,
    ) -> Result<ResolveSourceMetaResponse, BuildError> {
        if let Some(remote) = Remote::parse(&source)? {
            let git = request.git.unwrap_or_default();
            let wanted = match git.return_object {
                true => ObjectsWanted::Yes,
                false => ObjectsWanted::No,
            };
            let checksum = request.http.and_then(|http| http.checksum_request);
            return self
                .describe_remote((remote, source), (wanted, checksum), request.log_name)
                .await;
        }
        let image = request.image.unwrap_or_default();
        let mut attributes = source.attrs.clone();
        if !request.resolve_mode.is_empty() {
            attributes.insert("image.resolvemode".into(), request.resolve_mode);
        }
        let wanted = WantedImage {
            identifier: source.identifier,
            attributes,
            platform: self.platform(request.platform.as_ref()),
            log_name: request.log_name,
        };
        let found = self.find_image(wanted.clone()).await?;
        let attestation_chain = match AttestationsWanted::of(&image) {
            None => None,
            Some(attestations) => self.attestation_chain(wanted, attestations).await?,
        };
        Ok(ResolveSourceMetaResponse {
            source: Some(pb::SourceOp {
                identifier: found.identifier,
                attrs: source.attrs,
            }),
            image: Some(ResolveSourceImageResponse {
                digest: found.image.digest.to_string(),
                config: match image.no_config {
                    true => Default::default(),
                    false => found.image.config,
                },
                attestation_chain,
            }),
            ..ResolveSourceMetaResponse::default()
        })
    }

    /// The platform that a frontend means.
    pub(crate) fn platform(&self, wire: Option<&pb::Platform>) -> Platform {
        let own = || self.engine.worker.platform.clone();
        wire.map_or_else(own, platform::from_pb)
    }

    /// Finds an image in a registry or in a layout of the client.
    pub(crate) async fn find_image(&self, wanted: WantedImage) -> Result<FoundImage, BuildError> {
        let WantedImage {
            identifier,
            attributes,
            platform,
            mut log_name,
        } = wanted;
        if log_name.is_empty() {
            log_name = format!("resolve image config for {identifier}");
        }
        match identifier.split_once("://") {
            Some(("docker-image", rest)) => {
                let image = ImageIdentifier::parse(rest, &attributes, platform);
                let image = image.map_err(source_error)?;
                Ok(FoundImage {
                    identifier: format!("docker-image://{}", image.reference),
                    image: self.image_config(&image, &log_name).await?,
                })
            }
            Some(("oci-layout", rest)) => {
                let layout = LayoutIdentifier::parse(rest, &attributes, platform);
                let layout = layout.map_err(source_error)?;
                Ok(FoundImage {
                    identifier: format!("oci-layout://{}", layout.reference),
                    image: self.layout_config(&layout, &log_name).await?,
                })
            }
            _ => Err(invalid(format!(
                "source {identifier:?}: there is nothing to look up for such a source"
            ))),
        }
    }
}

fn invalid(message: impl Into<String>) -> BuildError {
    BuildError::new(Kind::Input, message)
}
