//! Images that a build used, each once.

use kiln_exporter::{PackageKind, package_url};
use kiln_registry::Reference;
use oci_spec::image::{Digest, Platform};

/// An image that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ImageSource {
    pub(crate) reference: Reference,
    pub(crate) platform: Option<Platform>,
    pub(crate) digest: Digest,
    /// Where it came from.
    pub(crate) kind: PackageKind,
}

impl ImageSource {
    pub(super) fn url(&self) -> String {
        package_url(self.kind, &self.reference, self.platform.as_ref(), &[])
    }

    /// Whether it is the same image for the same platform, whatever the features of its system.
    fn is_same(&self, other: &Self) -> bool {
        let key = |image: &Self| {
            let platform = image.platform.as_ref()?;
            Some((
                platform.architecture().clone(),
                platform.os().clone(),
                platform.os_version().clone(),
                platform.variant().clone(),
            ))
        };
        self.names_same(other) && key(self) == key(other)
    }

    fn names_same(&self, other: &Self) -> bool {
        self.reference == other.reference && self.kind == other.kind
    }
}

/// Adds an image unless it is there.
pub(super) fn add(images: &mut Vec<ImageSource>, image: ImageSource) {
    if !images.iter().any(|known| known.is_same(&image)) {
        images.push(image);
    }
}

/// Drops images named by digest where the same name is there without one.
pub(super) fn drop_pinned_twins(images: &mut Vec<ImageSource>) {
    let tag = |image: &ImageSource| {
        let reference = &image.reference;
        (
            reference.name(),
            reference.tag().unwrap_or("latest").to_owned(),
        )
    };
    let plain = images
        .iter()
        .filter(|image| image.reference.digest().is_none());
    let plain: Vec<_> = plain.map(tag).collect();
    images.retain(|image| image.reference.digest().is_none() || !plain.contains(&tag(image)));
}

/// Of images that were looked up for every platform of a result, keeps those of one platform.
pub(super) fn for_platform(
    images: Vec<ImageSource>,
    all: &[Platform],
    platform: &Platform,
) -> Vec<ImageSource> {
    let has_platform = |image: &ImageSource, wanted: &Platform| {
        let found = image.platform.as_ref();
        found.is_some_and(|found| kiln_llb::platform::matches(wanted, found))
    };
    let is_wanted = |image: &ImageSource| {
        let variants = images
            .iter()
            .filter(|other| other.reference == image.reference);
        let for_each = all
            .iter()
            .all(|wanted| variants.clone().any(|other| has_platform(other, wanted)));
        match &image.platform {
            Some(found) if for_each => {
                found.os() == platform.os() && found.architecture() == platform.architecture()
            }
            _ => true,
        }
    };
    let keep: Vec<bool> = images.iter().map(is_wanted).collect();
    let images = images.into_iter().zip(keep);
    images
        .filter_map(|(image, keep)| keep.then_some(image))
        .collect()
}
