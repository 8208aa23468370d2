//! The media types of manifests, and telling them by content.

use serde::Deserialize;
use serde::de::IgnoredAny;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_SCHEMA_ONE: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
];

/// Everything we can use, as an `Accept` header.
pub(crate) const ACCEPT: &str = concat!(
    "application/vnd.docker.distribution.manifest.v2+json, ",
    "application/vnd.docker.distribution.manifest.list.v2+json, ",
    "application/vnd.oci.image.manifest.v1+json, ",
    "application/vnd.oci.image.index.v1+json, ",
    "*/*"
);

/// Whether the type is that of one image's manifest.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

/// Whether the type is that of a list of manifests.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

/// Whether the type is that of manifests which nobody supports any more.
pub(crate) fn is_schema_one(media_type: &str) -> bool {
    DOCKER_SCHEMA_ONE.contains(&media_type)
}

/// Whether the type is that of a filesystem layer.
pub fn is_layer(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.")
}

/// The two forms of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestKind {
    /// One image.
    Image,
    /// Images by platform.
    Index,
}

/// Tells a manifest's media type from its content; OCI allows the field to be absent,
/// and then Docker's type is assumed. `Err` has the reason.
pub fn detect_manifest_media_type(manifest: &[u8]) -> Result<(ManifestKind, String), String> {
    #[derive(Deserialize)]
    struct Shape {
        #[serde(rename = "mediaType")]
        media_type: Option<String>,
        config: Option<IgnoredAny>,
        manifests: Option<IgnoredAny>,
        layers: Option<IgnoredAny>,
    }
    let shape: Shape = serde_json::from_slice(manifest).map_err(|error| error.to_string())?;
    let is_image = shape.config.is_some() || shape.layers.is_some();
    if is_image && shape.manifests.is_some() {
        return Err("invalid ambiguous manifest and manifest list".to_owned());
    }
    let kind = if is_image {
        ManifestKind::Image
    } else {
        ManifestKind::Index
    };
    let default = if is_image {
        DOCKER_MANIFEST
    } else {
        DOCKER_LIST
    };
    match shape.media_type {
        Some(named) if is_manifest(&named) || is_index(&named) => {
            if is_manifest(&named) != is_image {
                return Err("mediaType in manifest does not match manifest contents".to_owned());
            }
            Ok((kind, named))
        }
        _ => Ok((kind, default.to_owned())),
    }
}
