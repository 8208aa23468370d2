//! `ResolveImageConfig` and `ResolveSourceMeta`: what a source is, without
//! fetching its files.

use std::collections::BTreeMap;

use kiln_llb::pb;
use kiln_protocol::frontend::{
    ResolveImageConfigRequest, ResolveImageConfigResponse, ResolveSourceMetaRequest,
    ResolveSourceMetaResponse,
};

use super::{Gateway, invalid};
use crate::error::{BuildError, Detail};
use crate::source_meta::WantedImage;

/// `ResolverType` of images in OCI layouts of the client; all others are in
/// registries.
const OCI_LAYOUT: i32 = 1;

/// gRPC's code for arguments that make no sense.
const INVALID_ARGUMENT: i32 = 3;

impl Gateway {
    pub(super) async fn resolve_image_config(
        &self,
        request: ResolveImageConfigRequest,
    ) -> Result<ResolveImageConfigResponse, BuildError> {
        let bridge = self.bridge.governed_by(&request.source_policies)?;
        let mut attrs = BTreeMap::new();
        let scheme = if request.resolver_type == OCI_LAYOUT {
            attrs.insert("oci.session".into(), request.session_id);
            attrs.insert("oci.store".into(), request.store_id);
            "oci-layout"
        } else {
            attrs.insert("image.resolvemode".into(), request.resolve_mode);
            "docker-image"
        };
        let identifier = format!("{scheme}://{}", request.r#ref);
        let source = pb::SourceOp { identifier, attrs };
        let platform = bridge.platform(request.platform.as_ref());
        let source = bridge.govern_lookup(source, request.platform).await?;
        let found = bridge.find_image(WantedImage {
            identifier: source.identifier,
            attributes: source.attrs,
            platform,
            log_name: request.log_name,
        });
        let found = found.await.map_err(|error| {
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
        mut request: ResolveSourceMetaRequest,
    ) -> Result<ResolveSourceMetaResponse, BuildError> {
        let bridge = self.bridge.governed_by(&request.source_policies)?;
        let source = request.source.take();
        let source = source
            .ok_or_else(|| invalid("source is required").detail(Detail::Code(INVALID_ARGUMENT)))?;
        let platform = request.platform.clone();
        let source = bridge.govern_lookup(source, platform).await?;
        bridge.describe(source, request).await
    }
}
