//! `ResolveImageConfig` and `ResolveSourceMeta`: what a source is, without
//! fetching its files.

use std::collections::BTreeMap;

use kiln_llb::{pb, platform, redact};
use kiln_protocol::frontend::{
    ResolveImageConfigRequest, ResolveImageConfigResponse, ResolveSourceGitResponse,
    ResolveSourceHttpRequest, ResolveSourceHttpResponse, ResolveSourceImageResponse,
    ResolveSourceMetaRequest, ResolveSourceMetaResponse,
};
use kiln_source::git::GitDirectory;
use kiln_source::{GitIdentifier, ImageIdentifier, LayoutIdentifier, ResolvedImage};
use oci_spec::image::Platform;
use prost_types::Timestamp;

use super::{Gateway, invalid};
use crate::error::{BuildError, Detail};
use crate::ops::source::source_error;
use crate::remote_sources::{FoundRevision, ObjectsWanted, Remote};

/// `ResolverType` of images in OCI layouts of the client; all others are in
/// registries.
const OCI_LAYOUT: i32 = 1;

/// gRPC's code for arguments that make no sense.
const INVALID_ARGUMENT: i32 = 3;

/// A source to look up.
struct Wanted {
    /// `scheme://…`.
    identifier: String,
    attributes: BTreeMap<String, String>,
    platform: Platform,
    log_name: String,
}

/// What was found.
struct Found {
    /// The identifier in full.
    identifier: String,
    image: ResolvedImage,
}

impl Gateway {
    pub(super) async fn resolve_image_config(
        &self,
        request: ResolveImageConfigRequest,
    ) -> Result<ResolveImageConfigResponse, BuildError> {
        let bridge = self.bridge.governed_by(&request.source_policies)?;
        let mut attributes = BTreeMap::new();
        let scheme = if request.resolver_type == OCI_LAYOUT {
            attributes.insert("oci.session".into(), request.session_id);
            attributes.insert("oci.store".into(), request.store_id);
            "oci-layout"
        } else {
            attributes.insert("image.resolvemode".into(), request.resolve_mode);
            "docker-image"
        };
        let identifier = format!("{scheme}://{}", request.r#ref);
        let source = bridge.govern_lookup(identifier, attributes)?;
        let wanted = Wanted {
            identifier: source.identifier,
            attributes: source.attrs,
            platform: self.platform(request.platform.as_ref()),
            log_name: request.log_name,
        };
        let found = self.look_up(wanted).await.map_err(|error| {
            error.context(format!(
                "failed to resolve source metadata for {}",
                request.r#ref
            ))
        })?;
        let reference = found.identifier.split_once("://");
        Ok(ResolveImageConfigResponse {
            r#ref: reference.map_or(String::new(), |(_, it)| it.to_owned()),
            digest: found.image.digest.to_string(),
            config: found.image.config,
        })
    }

    pub(super) async fn resolve_source_meta(
        &self,
        request: ResolveSourceMetaRequest,
    ) -> Result<ResolveSourceMetaResponse, BuildError> {
        let bridge = self.bridge.governed_by(&request.source_policies)?;
        let source = request
            .source
            .ok_or_else(|| invalid("source is required").detail(Detail::Code(INVALID_ARGUMENT)))?;
        let source = bridge.govern_lookup(source.identifier, source.attrs)?;
        if let Some(remote) = Remote::parse(&source)? {
            let git = request.git.unwrap_or_default();
            let wanted = match git.return_object {
                true => ObjectsWanted::Yes,
                false => ObjectsWanted::No,
            };
            refuse_checksums(&request.http.unwrap_or_default())?;
            return self
                .resolve_remote((remote, source), wanted, request.log_name)
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
        let found = self.look_up(Wanted {
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
    async fn resolve_remote(
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
                let found = self.bridge.revision(&git, wanted, &name).await?;
                response.git = Some(git_response(&git, found));
            }
            Remote::Http(http) => {
                let file = self.bridge.file(&http, &name).await?;
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

    fn platform(&self, wire: Option<&pb::Platform>) -> Platform {
        let own = || self.bridge.engine.worker.platform.clone();
        wire.map_or_else(own, platform::from_pb)
    }

    async fn look_up(&self, wanted: Wanted) -> Result<Found, BuildError> {
        let Wanted {
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
                Ok(Found {
                    identifier: format!("docker-image://{}", image.reference),
                    image: self.bridge.image_config(&image, &log_name).await?,
                })
            }
            Some(("oci-layout", rest)) => {
                let layout = LayoutIdentifier::parse(rest, &attributes, platform);
                let layout = layout.map_err(source_error)?;
                Ok(Found {
                    identifier: format!("oci-layout://{}", layout.reference),
                    image: self.bridge.layout_config(&layout, &log_name).await?,
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
