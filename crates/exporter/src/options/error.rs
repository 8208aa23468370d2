//! What can be wrong with the keys of an output or a cache.

/// An output's keys that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No such output type.
    #[error("exporter {name:?} could not be found; the output types are {known}{hint}", known = crate::Output::TYPES.join(", "))]
    UnknownType {
        /// The type asked for.
        name: String,
        /// `; did you mean …?` or nothing.
        hint: String,
    },
    /// No such key.
    #[error("unknown key {key:?} for output type={kind}{hint}")]
    UnknownKey {
        /// The output type.
        kind: String,
        /// The key.
        key: String,
        /// `; did you mean …?` or nothing.
        hint: String,
    },
    /// A key that is understood but does nothing so far.
    #[error("output key {key:?} is not supported yet; leave it out")]
    NotYet {
        /// The key, with its value where that matters.
        key: String,
    },
    /// A value that is no boolean.
    #[error("non-bool value specified for {key}: {value:?}; use true or false")]
    NotBool {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// A value that is no whole number.
    #[error("non-integer value {value} specified for {key}")]
    NotInteger {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// A compression level that the algorithm does not have.
    #[error(
        "invalid compression-level {level}: it must be between 0 and {highest} for compression={algorithm}"
    )]
    Level {
        /// The level asked for.
        level: i64,
        /// The algorithm.
        algorithm: &'static str,
        /// The highest one there is.
        highest: i32,
    },
    /// A level for layers that are not compressed.
    #[error(
        "exporter option \"compression-level={0}\" conflicts with \"compression=uncompressed\": a plain tar has no \
         levels; leave compression-level out"
    )]
    NoLevels(String),
    /// A compression that does not exist.
    #[error(
        "unsupported compression type {0}; use gzip, estargz, zstd, zstd:chunked or uncompressed"
    )]
    UnsupportedCompression(String),
    /// Build information that goes to no such place.
    #[error("invalid buildinfo {0:?}: use all, imageconfig, metadata or none")]
    BuildInfo(String),
    /// Two keys that exclude each other.
    #[error("exporter option {0:?} conflicts with {1:?}")]
    Conflict(String, String),
    /// A push without a name.
    #[error("push=true needs a place to push to: add name=REGISTRY/REPOSITORY:TAG")]
    Nameless,
    /// A name with a tag where none may be.
    #[error("can't push tagged ref {0} by digest: leave out its tag, or push-by-digest")]
    TaggedByDigest(String),
    /// A mode of the local exporter that does not exist.
    #[error("invalid local exporter mode {0:?}; use copy or delete")]
    LocalMode(String),
    /// A prefix of attestation files that would lead out of their directory.
    #[error("invalid attestation-prefix {0:?}: it begins file names and cannot have a slash")]
    AttestationPrefix(String),
    /// An annotation key of an unknown kind.
    #[error(
        "unrecognized annotation type {0}; use manifest, manifest-descriptor, index or index-descriptor"
    )]
    AnnotationType(String),
    /// An annotation for a platform that cannot be read.
    #[error("invalid platform {platform:?} in output key {key:?}")]
    AnnotationPlatform {
        /// The whole key.
        key: String,
        /// The platform in it.
        platform: String,
    },
    /// A name that is no image reference.
    #[error("failed to parse image name {name:?}: {reason}; a name is [REGISTRY/]REPOSITORY[:TAG]")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl OptionError {
    pub(crate) fn not_yet(key: impl Into<String>) -> Self {
        Self::NotYet { key: key.into() }
    }

    pub(crate) fn unknown_type(name: &str) -> Self {
        let hint = match name {
            "" => "; set type=".to_owned(),
            _ => did_you_mean(name, crate::Output::TYPES),
        };
        Self::UnknownType {
            name: name.to_owned(),
            hint,
        }
    }

    pub(crate) fn unknown_key<'a>(
        kind: &str,
        key: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self::UnknownKey {
            kind: kind.to_owned(),
            key: key.to_owned(),
            hint: did_you_mean(key, known),
        }
    }
}

/// `; did you mean "x"?` for the closest known word, if one is close.
fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| format!("; did you mean {candidate:?}?"))
        .unwrap_or_default()
}
