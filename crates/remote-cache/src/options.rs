//! The keys of `--export-cache` and `--import-cache`, as typed options.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use kiln_registry::Reference;
use kiln_solver::ExportMode;
use oci_spec::image::Digest;

use crate::build::Format;

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
    /// `type=inline`: in the config of the image that is exported.
    Inline,
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
}

/// Which manifest of a directory.
#[derive(Clone, Debug, PartialEq)]
pub enum Version {
    /// The one with this digest.
    Digest(Digest),
    /// The one with this tag or name.
    Tag(String),
}

/// Keys that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No such cache type.
    #[error("unknown cache {direction}er {kind:?}; the types are {known}")]
    UnknownType {
        /// `export` or `import`.
        direction: &'static str,
        /// The type.
        kind: String,
        /// Those there are.
        known: &'static str,
    },
    /// No such key.
    #[error("unknown key {key:?} for cache {direction} type={kind}{hint}")]
    UnknownKey {
        /// `export` or `import`.
        direction: &'static str,
        /// The type.
        kind: String,
        /// The key.
        key: String,
        /// `; did you mean …?` or nothing.
        hint: String,
    },
    /// A key that must be there.
    #[error("{kind} cache {direction}er requires {key}")]
    Missing {
        /// `export` or `import`.
        direction: &'static str,
        /// The type.
        kind: String,
        /// The key.
        key: &'static str,
    },
    /// A value that cannot be understood.
    #[error("failed to parse {key}: {value:?} {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Docker has no media types for this form.
    #[error(
        "invalid configuration for remote cache, OCI mediatypes are required for image-manifest cache format"
    )]
    ImageManifestNeedsOci,
}

impl ExportOptions {
    /// Reads the keys of one `--export-cache`.
    pub fn parse(kind: &str, attributes: &Attributes) -> Result<Self, OptionError> {
        let mut keys = Keys::new("export", kind, attributes);
        let destination = match kind {
            "local" => Destination::Directory {
                path: keys.required("dest")?.into(),
                tag: keys.text("tag").unwrap_or_else(|| "latest".into()),
                reset: keys.switch("reset")?.unwrap_or(false),
            },
            "registry" => Destination::Registry {
                reference: keys.reference()?,
                insecure: keys.switch("registry.insecure")?.unwrap_or(false),
            },
            "inline" => Destination::Inline,
            _ => return Err(keys.unknown_type("local, registry, inline")),
        };
        let format = if destination == Destination::Inline {
            Format::default()
        } else {
            keys.format()?
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
        let mut keys = Keys::new("import", kind, attributes);
        let options = match kind {
            "local" => {
                let path = keys.required("src")?.into();
                let tag = keys
                    .text("tag")
                    .filter(|tag| !tag.is_empty())
                    .unwrap_or_else(|| "latest".into());
                let version = match keys.text("digest").filter(|digest| !digest.is_empty()) {
                    None => Version::Tag(tag),
                    Some(text) => Version::Digest(Digest::from_str(&text).map_err(|error| {
                        OptionError::Value {
                            key: "digest",
                            value: text,
                            reason: format!("is no digest: {error}"),
                        }
                    })?),
                };
                Self::Directory { path, version }
            }
            "registry" => Self::Registry {
                reference: keys.reference()?,
                insecure: keys.switch("registry.insecure")?.unwrap_or(false),
            },
            _ => return Err(keys.unknown_type("local, registry")),
        };
        keys.finish()?;
        Ok(options)
    }
}

/// Attributes that are taken one by one; what is left in the end is unknown.
struct Keys {
    direction: &'static str,
    kind: String,
    rest: Attributes,
    known: Vec<&'static str>,
}

impl Keys {
    fn new(direction: &'static str, kind: &str, attributes: &Attributes) -> Self {
        Self {
            direction,
            kind: kind.to_owned(),
            rest: attributes.clone(),
            known: Vec::new(),
        }
    }

    fn text(&mut self, key: &'static str) -> Option<String> {
        self.known.push(key);
        self.rest.remove(key)
    }

    fn required(&mut self, key: &'static str) -> Result<String, OptionError> {
        let (direction, kind) = (self.direction, self.kind.clone());
        self.text(key)
            .filter(|text| !text.is_empty())
            .ok_or(OptionError::Missing {
                direction,
                kind,
                key,
            })
    }

    fn switch(&mut self, key: &'static str) -> Result<Option<bool>, OptionError> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        match text.as_str() {
            "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
            _ => Err(OptionError::Value {
                key,
                value: text,
                reason: "is neither true nor false".into(),
            }),
        }
    }

    fn reference(&mut self) -> Result<Reference, OptionError> {
        let text = self.required("ref")?;
        Reference::parse(&text)
            .map(Reference::with_default_tag)
            .map_err(|error| OptionError::Value {
                key: "ref",
                value: text,
                reason: error.to_string(),
            })
    }

    fn mode(&mut self, destination: &Destination) -> Result<ExportMode, OptionError> {
        let value = self.text("mode");
        let wrong = |value: String, reason: &str| OptionError::Value {
            key: "mode",
            value,
            reason: reason.into(),
        };
        match value.as_deref() {
            None | Some("min") => Ok(ExportMode::Min),
            Some("max") if *destination == Destination::Inline => Err(wrong(
                "max".into(),
                "does not fit into an image: an inline cache has its layers only; use min",
            )),
            Some("max") => Ok(ExportMode::Max),
            Some(other) => Err(wrong(other.into(), "is neither min nor max")),
        }
    }

    /// An image manifest, unless it is switched off or OCI media types are.
    fn format(&mut self) -> Result<Format, OptionError> {
        let oci = self.switch("oci-mediatypes")?.unwrap_or(true);
        match (self.switch("image-manifest")?, oci) {
            (None | Some(true), true) => Ok(Format::ImageManifest),
            (Some(false), true) => Ok(Format::OciIndex),
            (None | Some(false), false) => Ok(Format::DockerList),
            (Some(true), false) => Err(OptionError::ImageManifestNeedsOci),
        }
    }

    fn unknown_type(&self, known: &'static str) -> OptionError {
        OptionError::UnknownType {
            direction: self.direction,
            kind: self.kind.clone(),
            known,
        }
    }

    fn finish(self) -> Result<(), OptionError> {
        let Some(key) = self.rest.keys().next() else {
            return Ok(());
        };
        let hint = self
            .known
            .iter()
            .map(|known| (strsim::damerau_levenshtein(key, known), known))
            .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
            .min()
            .map(|(_, known)| format!("; did you mean {known:?}?"))
            .unwrap_or_default();
        Err(OptionError::UnknownKey {
            direction: self.direction,
            kind: self.kind,
            key: key.clone(),
            hint,
        })
    }
}
