//! Media types of layers, in OCI's and in Docker's words.

use super::LayerBlob;
use crate::compression::{Algorithm, MANIFEST_CHECKSUM, TOC_DIGEST};
use crate::image::model::Descriptor;

/// The same layer types in both languages. Types that forbid distribution are for layers that have a place to fetch them
/// from; the others stand for them where there is none.
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

/// Whether a blob is of a form. Every eStargz is gzip as well, and every zstd:chunked Zstandard.
pub(super) fn is_of(blob: &oci_spec::image::Descriptor, form: Algorithm) -> bool {
    let (whole, mark) = match form {
        Algorithm::Estargz => (Algorithm::Gzip, Some(TOC_DIGEST)),
        Algorithm::ZstdChunked => (Algorithm::Zstd, Some(MANIFEST_CHECKSUM)),
        whole => (whole, None),
    };
    let annotations = blob.annotations().as_ref();
    let is_marked = |mark| annotations.is_some_and(|annotations| annotations.contains_key(mark));
    algorithm(blob.media_type().as_ref()) == Some(whole) && mark.is_none_or(is_marked)
}

/// What becomes of layers that are to be had at an address of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// They become layers like any other.
    Adopt,
    /// They keep their addresses and are not distributed (`prefer-nondist-layers`).
    Keep,
}

/// The media type in the language wanted; types that are no layer's stay.
fn convert(media_type: &str, oci: bool, is_foreign: bool) -> String {
    match algorithm(media_type) {
        None => media_type.to_owned(),
        Some(wanted) => TYPES
            .iter()
            .find(|entry| entry.2 == wanted && is_distributable(entry.0) != is_foreign)
            .map_or(media_type, |entry| if oci { entry.0 } else { entry.1 })
            .to_owned(),
    }
}

/// A layer as it is listed in a manifest: without the annotations that only matter here, and with none at all in
/// Docker's manifests.
pub(crate) fn for_manifest(layer: &LayerBlob, oci: bool, foreign: Foreign) -> Descriptor {
    let mut descriptor = Descriptor::from(&layer.descriptor);
    if foreign == Foreign::Adopt {
        descriptor.urls.clear();
    }
    let is_foreign = !descriptor.urls.is_empty();
    descriptor.media_type = convert(&descriptor.media_type, oci, is_foreign);
    descriptor.platform = None;
    descriptor
        .annotations
        .retain(|key, _| oci && !is_internal(key));
    descriptor
}

/// Whether registries are to have blobs of this type.
pub(crate) fn is_distributable(media_type: &str) -> bool {
    !media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        && !media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

fn is_internal(annotation: &str) -> bool {
    matches!(
        annotation,
        "containerd.io/uncompressed" | "buildkit/createdat" | "buildkit/description"
    ) || annotation.starts_with("containerd.io/distribution.source.")
}
