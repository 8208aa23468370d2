//! An image as an OCI layout: in one tar stream, or in a directory.

mod client;
mod deliver;
mod directory;
mod index;
mod lacking;
mod tarball;

pub(crate) use client::send_blobs;
pub(crate) use deliver::deliver;
pub(crate) use directory::{put_in_index, write_directory};
pub(crate) use index::root_descriptors;
pub(crate) use lacking::Part;
pub(crate) use tarball::{Sink, write_tarball};

use std::collections::BTreeMap;
use std::str::FromStr;

use kiln_registry::Reference;
use oci_spec::image::Digest;

use crate::ExportError;
use crate::image::model::Descriptor;
use crate::image::{Assembled, AssembledManifest};
use crate::options::ArchiveVariant;

/// What goes into an archive.
pub(crate) struct Archive {
    pub(crate) image: Assembled,
    pub(crate) names: Vec<Reference>,
    pub(crate) variant: ArchiveVariant,
}

pub(crate) const LAYOUT_FILE: &str = "oci-layout";
pub(crate) const INDEX_FILE: &str = "index.json";
pub(crate) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Every blob of an image once, by its path in a layout.
pub(crate) fn blobs(image: &Assembled) -> Result<BTreeMap<String, (Digest, u64)>, ExportError> {
    let of_manifests = image
        .parts()
        .flat_map(|(manifest, config, layers)| [manifest, config].into_iter().chain(layers));
    std::iter::once(&image.root)
        .chain(of_manifests)
        .map(|descriptor| {
            let digest = Digest::from_str(&descriptor.digest)
                .map_err(|error| ExportError::Store(error.into()))?;
            Ok((path(descriptor), (digest, descriptor.size)))
        })
        .collect()
}

/// The image that this machine would run: of several platforms, the one that fits best.
pub(crate) fn host_manifest(image: &Assembled) -> Option<&AssembledManifest> {
    let host = kiln_llb::platform::host();
    image.manifests.iter().min_by_key(|manifest| {
        kiln_llb::platform::preference(&host, &manifest.platform).unwrap_or(usize::MAX)
    })
}

/// Where a blob lies in a layout.
pub(crate) fn path(descriptor: &Descriptor) -> String {
    format!("blobs/{}", descriptor.digest.replacen(':', "/", 1))
}
