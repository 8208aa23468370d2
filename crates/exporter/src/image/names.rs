//! Image names, as given and as they are written into archives and indexes.

use kiln_registry::Reference;

use crate::options::{ImageOptions, OptionError};

pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The names asked for, with the frontend's in place of a single `*`.
pub(crate) fn requested(options: &ImageOptions, from_frontend: Option<&str>) -> Vec<String> {
    match (options.names.as_slice(), from_frontend) {
        ([star], Some(name)) if star == "*" => name
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        (names, _) => names.to_vec(),
    }
}

/// Complete references: with a domain, and `latest` where there is no tag.
pub(crate) fn normalized(names: &[String]) -> Result<Vec<Reference>, OptionError> {
    names
        .iter()
        .map(|name| {
            Reference::parse(name)
                .map(Reference::with_default_tag)
                .map_err(|error| OptionError::Name {
                    name: name.clone(),
                    reason: error.to_string(),
                })
        })
        .collect()
}

/// What an OCI index calls a name: its tag, or the whole name where there is a digest instead.
pub(crate) fn ref_name(reference: &Reference) -> String {
    match (reference.tag(), reference.digest()) {
        (Some(tag), None) => tag.to_owned(),
        (Some(tag), Some(digest)) => format!("{tag}@{digest}"),
        (None, _) => reference.to_string(),
    }
}
