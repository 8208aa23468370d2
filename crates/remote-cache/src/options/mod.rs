//! The keys of `--export-cache` and `--import-cache`, as typed options.

mod azblob;
mod error;
mod gcs;
mod gha;
mod http;
mod keys;
mod layout;
mod local;
mod registry;
mod s3;
mod secret;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use kiln_registry::Reference;
use kiln_solver::ExportMode;

use crate::build::Format;
use keys::{Direction, Keys};

pub use azblob::AzblobOptions;
pub use error::OptionError;
pub use gcs::GcsOptions;
pub use gha::{GhaOptions, GhaProtocol};
pub use http::{HttpLogin, HttpOptions};
pub use layout::Layout;
pub use local::Version;
pub use s3::{S3Login, S3Options};
pub use secret::Secret;

/// The keys of one cache, without `type`.
pub type Attributes = BTreeMap<String, String>;

/// The keys `compression`, `compression-level` and `force-compression`, for whoever makes the layer blobs.
pub type CompressionKeys = BTreeMap<String, String>;

/// Where to export a cache, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportOptions {
    /// Where to.
    pub destination: Destination,
    /// `mode`.
    pub mode: ExportMode,
    /// `ignore-error`: a failed export does not fail the build.
    pub ignore_error: bool,
    /// `image-manifest` and `oci-mediatypes`.
    pub format: Format,
    /// How layers without a blob are compressed.
    pub compression: CompressionKeys,
}

/// Where a cache is exported to.
#[derive(Clone, Debug, PartialEq)]
pub enum Destination {
    /// `type=local`: an OCI layout directory.
    Directory {
        /// `dest`.
        path: PathBuf,
        /// `tag`.
        tag: String,
        /// `reset`: blobs that nothing in the directory refers to are removed afterwards.
        reset: bool,
    },
    /// `type=registry`.
    Registry {
        /// `ref`.
        reference: Reference,
        /// `registry.insecure`.
        insecure: bool,
    },
    /// A store that knows blobs and names, and no manifests.
    Store(Box<StoreOptions>),
    /// `type=inline`: in the config of the image that is exported.
    Inline,
}

impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path, .. } => path.display().fmt(formatter),
            Self::Registry { reference, .. } => reference.fmt(formatter),
            Self::Store(options) => formatter.write_str(&options.title()),
            Self::Inline => formatter.write_str("the image"),
        }
    }
}

/// Where to import a cache from.
#[derive(Clone, Debug, PartialEq)]
pub enum ImportOptions {
    /// `type=local`: an OCI layout directory.
    Directory {
        /// `src`.
        path: PathBuf,
        /// `digest`, or else `tag`.
        version: Version,
    },
    /// `type=registry`: a cache, or an image with an inline one.
    Registry {
        /// `ref`.
        reference: Reference,
        /// `registry.insecure`.
        insecure: bool,
    },
    /// A store that knows blobs and names, and no manifests.
    Store(Box<StoreOptions>),
}

impl fmt::Display for ImportOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path, .. } => path.display().fmt(formatter),
            Self::Registry { reference, .. } => reference.fmt(formatter),
            Self::Store(options) => formatter.write_str(&options.title()),
        }
    }
}

/// A store of objects, and the way there.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreOptions {
    /// `type=s3`.
    S3(S3Options),
    /// `type=azblob`.
    Azblob(AzblobOptions),
    /// `type=gcs`.
    Gcs(GcsOptions),
    /// `type=gha`.
    Gha(GhaOptions),
    /// `type=http`.
    Http(HttpOptions),
}

impl ExportOptions {
    /// Reads the keys of one `--export-cache`.
    pub fn parse(kind: &str, attributes: &Attributes) -> Result<Self, OptionError> {
        let mut keys = Keys::new(Direction::Export, kind, attributes);
        let destination = match kind {
            "local" => local::destination(&mut keys)?,
            "registry" => {
                let (reference, insecure) = registry::parse(&mut keys)?;
                Destination::Registry {
                    reference,
                    insecure,
                }
            }
            "inline" => Destination::Inline,
            _ => Destination::Store(Box::new(StoreOptions::parse(&mut keys)?)),
        };
        let has_manifest = matches!(
            destination,
            Destination::Directory { .. } | Destination::Registry { .. }
        );
        let format = match has_manifest {
            true => keys.format()?,
            false => Format::default(),
        };
        let mut compression = CompressionKeys::new();
        if destination != Destination::Inline {
            for key in ["compression", "compression-level", "force-compression"] {
                compression.extend(keys.text(key).map(|value| (key.to_owned(), value)));
            }
        }
        let options = Self {
            mode: keys.mode(&destination)?,
            ignore_error: keys.switch("ignore-error")?.unwrap_or(false),
            destination,
            format,
            compression,
        };
        keys.finish()?;
        Ok(options)
    }
}

impl ImportOptions {
    /// Reads the keys of one `--import-cache`.
    pub fn parse(kind: &str, attributes: &Attributes) -> Result<Self, OptionError> {
        let mut keys = Keys::new(Direction::Import, kind, attributes);
        let options = match kind {
            "local" => local::source(&mut keys)?,
            "registry" => {
                let (reference, insecure) = registry::parse(&mut keys)?;
                Self::Registry {
                    reference,
                    insecure,
                }
            }
            _ => Self::Store(Box::new(StoreOptions::parse(&mut keys)?)),
        };
        keys.finish()?;
        Ok(options)
    }
}

impl StoreOptions {
    fn parse(keys: &mut Keys) -> Result<Self, OptionError> {
        match keys.kind.as_str() {
            "s3" => s3::parse(keys).map(Self::S3),
            "azblob" => azblob::parse(keys).map(Self::Azblob),
            "gcs" => gcs::parse(keys).map(Self::Gcs),
            "gha" => gha::parse(keys).map(Self::Gha),
            "http" => http::parse(keys).map(Self::Http),
            _ => Err(keys.unknown_type()),
        }
    }

    /// What users know the store by.
    pub fn title(&self) -> String {
        match self {
            Self::S3(options) => format!("S3 bucket {}", options.bucket),
            Self::Azblob(options) => format!("Azure container {}", options.container),
            Self::Gcs(options) => format!("Google Cloud Storage bucket {}", options.bucket),
            Self::Gha(options) => format!("GitHub Actions cache, scope {}", options.scope),
            Self::Http(options) => options.shown_url(),
        }
    }
}
