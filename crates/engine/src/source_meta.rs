//! What a source is, without fetching its files, in the gateway's terms.

use std::collections::BTreeMap;

use kiln_llb::{pb, platform, redact};
use kiln_protocol::frontend::{
    ResolveSourceGitResponse, ResolveSourceHttpRequest, ResolveSourceHttpResponse,
    ResolveSourceImageResponse, ResolveSourceMetaRequest, ResolveSourceMetaResponse,
};
use kiln_source::git::GitDirectory;
use kiln_source::{GitIdentifier, ImageIdentifier, LayoutIdentifier, ResolvedImage};
use oci_spec::image::Platform;
use prost_types::Timestamp;

use crate::bridge::Bridge;
use crate::error::{BuildError, Kind};
use crate::ops::source::source_error;
use crate::remote_sources::{FoundRevision, ObjectsWanted, Remote};

/// An image to look up.
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
            refuse_checksums(&request.http.unwrap_or_default())?;
            return self
                .describe_remote((remote, source), wanted, request.log_name)
                .await;
        }
        let image = request.image.unwrap_or_default();
        if image.attestation_chain || !image.resolve_attestations.is_empty() {
            return Err(invalid(
                "looking up the attestations of an image is not supported yet",
            ));
        }
        let mut attributes = source.attrs.clone();
        if !request.resolve_mode.is_empty() {
            attributes.insert("image.resolvemode".into(), request.resolve_mode);
        }
        let found = self.find_image(WantedImage {
            identifier: source.identifier,
            attributes,
            platform: self.platform(request.platform.as_ref()),
            log_name: request.log_name,
        });
        let found = found.await?;
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
                attestation_chain: None,
            }),
            ..ResolveSourceMetaResponse::default()
        })
    }

    /// A repository, or a file of a web server.
    async fn describe_remote(
        &self,
        (remote, source): (Remote, pb::SourceOp),
        wanted: ObjectsWanted,
        log_name: String,
    ) -> Result<ResolveSourceMetaResponse, BuildError> {
        let name = match log_name.as_str() {
            "" => format!("resolve {}", redact::credentials(&source.identifier)),
            name => name.to_owned(),
        };
        let mut response = ResolveSourceMetaResponse {
            source: Some(source),
            ..ResolveSourceMetaResponse::default()
        };
        match remote {
            Remote::Git(git) => {
                let found = self.revision(&git, wanted, &name).await?;
                response.git = Some(git_response(&git, found));
            }
            Remote::Http(http) => {
                let file = self.file(&http, &name).await?;
                let modified = file.modified();
                response.http = Some(ResolveSourceHttpResponse {
                    checksum: file.digest.to_string(),
                    filename: file.filename().to_owned(),
                    last_modified: modified.map(|seconds| Timestamp { seconds, nanos: 0 }),
                    checksum_response: None,
                });
            }
        }
        Ok(response)
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

/// What is said of a revision: that it is a tag only if its commit is not its name for all purposes.
fn git_response(git: &GitIdentifier, found: FoundRevision) -> ResolveSourceGitResponse {
    let FoundRevision { revision, objects } = found;
    let mut response = ResolveSourceGitResponse {
        checksum: revision.checksum,
        r#ref: revision.reference,
        ..ResolveSourceGitResponse::default()
    };
    match objects {
        Some(objects) => {
            if let Some(tag) = objects.tag {
                response.commit_checksum = objects.commit_name;
                response.tag_object = tag;
            }
            response.commit_object = objects.commit;
        }
        None if git.git_directory == GitDirectory::Dropped => {
            response.commit_checksum = revision.commit.unwrap_or_default();
        }
        None => {}
    }
    response
}

fn refuse_checksums(request: &ResolveSourceHttpRequest) -> Result<(), BuildError> {
    match request.checksum_request {
        None => Ok(()),
        Some(_) => Err(invalid(
            "further checksums of a file of a web server are not supported yet",
        )),
    }
}

fn invalid(message: impl Into<String>) -> BuildError {
    BuildError::new(Kind::Input, message)
}
