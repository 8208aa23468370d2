//! Manifests of caches, in the bytes the field writes: sorted annotations, no white space, Go's field order and escapes.

use std::collections::BTreeMap;

use oci_spec::image as oci;
use serde::{Deserialize, Serialize};

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Annotation with the digest of a layer's uncompressed tar.
pub(crate) const UNCOMPRESSED: &str = "containerd.io/uncompressed";
/// Annotation with the time a layer was made.
pub(crate) const CREATED_AT: &str = "buildkit/createdat";

/// A content descriptor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    /// Kept as it is when an index is written again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<serde_json::Value>,
}

/// A manifest or an index, whichever fields it has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layers: Option<Vec<Descriptor>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) manifests: Option<Vec<Descriptor>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// The same in the types other crates take.
    pub(crate) fn to_oci(&self) -> Result<oci::Descriptor, oci_spec::OciSpecError> {
        let digest = self.digest.parse::<oci::Digest>()?;
        let mut descriptor = oci::Descriptor::new(
            oci::MediaType::from(self.media_type.as_str()),
            self.size,
            digest,
        );
        descriptor.set_annotations(
            self.annotations
                .clone()
                .map(|annotations| annotations.into_iter().collect()),
        );
        Ok(descriptor)
    }
}

impl From<&oci::Descriptor> for Descriptor {
    fn from(from: &oci::Descriptor) -> Self {
        Self {
            media_type: from.media_type().to_string(),
            digest: from.digest().to_string(),
            size: from.size(),
            annotations: from
                .annotations()
                .clone()
                .map(|annotations| annotations.into_iter().collect()),
            platform: None,
        }
    }
}

/// Compact JSON as Go prints it, which escapes what may not stand in HTML. Such characters only occur inside of strings.
pub(crate) fn encode(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let text = serde_json::to_string(value)?;
    let text = text
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029");
    Ok(text.into_bytes())
}

/// The OCI media type of a layer, for Docker's.
pub(crate) fn layer_media_type(media_type: &str, format: crate::Format) -> String {
    const TYPES: [(&str, &str); 3] = [
        (
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.docker.image.rootfs.diff.tar",
        ),
        (
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ),
        (
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.diff.tar.zstd",
        ),
    ];
    let same = TYPES
        .iter()
        .find(|(oci, docker)| *oci == media_type || *docker == media_type);
    same.map_or(media_type, |(oci, docker)| {
        if format == crate::Format::DockerList {
            docker
        } else {
            oci
        }
    })
    .to_owned()
}
