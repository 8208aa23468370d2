//! The keys of `type=local`.

use std::str::FromStr;

use oci_spec::image::Digest;

use super::keys::{Keys, wrong};
use super::{Destination, ImportOptions, OptionError};

/// Which manifest of a directory.
#[derive(Clone, Debug, PartialEq)]
pub enum Version {
    /// The one with this digest.
    Digest(Digest),
    /// The one with this tag or name.
    Tag(String),
}

pub(super) fn destination(keys: &mut Keys) -> Result<Destination, OptionError> {
    Ok(Destination::Directory {
        path: keys.required("dest")?.into(),
        tag: keys.text("tag").unwrap_or_else(|| "latest".into()),
        reset: keys.switch("reset")?.unwrap_or(false),
    })
}

pub(super) fn source(keys: &mut Keys) -> Result<ImportOptions, OptionError> {
    let path = keys.required("src")?.into();
    let tag = keys.filled("tag").unwrap_or_else(|| "latest".into());
    let version = match keys.filled("digest") {
        None => Version::Tag(tag),
        Some(text) => Version::Digest(
            Digest::from_str(&text)
                .map_err(|error| wrong("digest", text, format!("is no digest: {error}")))?,
        ),
    };
    Ok(ImportOptions::Directory { path, version })
}
