//! What can be wrong with keys.

/// Keys that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No such cache type.
    #[error("unknown cache {direction}er: {kind:?}; the types are {known}")]
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
    #[error("{kind} cache {direction}er requires {key}{instead}")]
    Missing {
        /// `export` or `import`.
        direction: &'static str,
        /// The type.
        kind: String,
        /// The key.
        key: &'static str,
        /// ` or $VARIABLE`, which would also do, or nothing.
        instead: &'static str,
    },
    /// A value that cannot be understood.
    #[error("failed to parse {key}: {value:?} {reason}")]
    Value {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A secret that cannot be used; it is not shown.
    #[error("failed to parse {key}: it {reason}")]
    Secret {
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Docker has no media types for this form.
    #[error(
        "invalid configuration for remote cache, OCI mediatypes are required for image-manifest cache format"
    )]
    ImageManifestNeedsOci,
}
