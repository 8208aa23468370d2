//! Media types of layers, in OCI's and in Docker's words.

use super::LayerBlob;
use crate::compression::{Algorithm, TOC_DIGEST};
use crate::image::model::Descriptor;

/// The same layer types in both languages. Types that forbid distribution come after those that stand for them here,
/// because without a place to fetch it from a layer has to be distributed.
const TYPES: [(&str, &str, Algorithm); 7] = [
    (
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar",
        Algorithm::Uncompressed,
    ),
    (
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        Algorithm::Gzip,
    ),
    (
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        Algorithm::Zstd,
    ),
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        Algorithm::Uncompressed,
    ),
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        Algorithm::Gzip,
    ),
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.zstd",
        Algorithm::Zstd,
    ),
    // What old registries call a gzip layer.
    ("application/x-gzip", "application/x-gzip", Algorithm::Gzip),
];

/// How a layer of this media type is compressed, if it is known to be a layer.
pub(super) fn algorithm(media_type: &str) -> Option<Algorithm> {
    TYPES
        .iter()
        .find(|(oci, docker, _)| *oci == media_type || *docker == media_type)
        .map(|entry| entry.2)
}

/// Whether a blob is marked as an eStargz.
pub(super) fn is_estargz(blob: &oci_spec::image::Descriptor) -> bool {
    let is_gzip = algorithm(blob.media_type().as_ref()) == Some(Algorithm::Gzip);
    let annotations = blob.annotations().as_ref();
    is_gzip && annotations.is_some_and(|annotations| annotations.contains_key(TOC_DIGEST))
}

/// The distributable media type in the language wanted; types that are no layer's stay.
fn convert(media_type: &str, oci: bool) -> String {
    match algorithm(media_type) {
        None => media_type.to_owned(),
        Some(wanted) => TYPES
            .iter()
            .find(|entry| entry.2 == wanted)
            .map_or(media_type, |entry| if oci { entry.0 } else { entry.1 })
            .to_owned(),
    }
}

/// A layer as it is listed in a manifest: without the annotations that only matter here, and with none at all in
/// Docker's manifests.
pub(crate) fn for_manifest(layer: &LayerBlob, oci: bool) -> Descriptor {
    let mut descriptor = Descriptor::from(&layer.descriptor);
    descriptor.media_type = convert(&descriptor.media_type, oci);
    descriptor.urls.clear();
    descriptor.platform = None;
    descriptor
        .annotations
        .retain(|key, _| oci && !is_internal(key));
    descriptor
}

fn is_internal(annotation: &str) -> bool {
    matches!(
        annotation,
        "containerd.io/uncompressed" | "buildkit/createdat" | "buildkit/description"
    ) || annotation.starts_with("containerd.io/distribution.source.")
}
