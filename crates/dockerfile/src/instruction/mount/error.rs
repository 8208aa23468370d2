//! What can be wrong with a `--mount` flag. The texts are BuildKit's.

use super::MountType;
use crate::error::quoted;
use crate::instruction::FieldsError;
use crate::suggest::hint;

/// What is wrong with a `--mount` flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// It is not a list of fields.
    #[error("failed to parse csv mounts: {0}")]
    Fields(FieldsError),
    /// A field has no value but needs one.
    #[error("invalid field '{field}' must be a key=value pair")]
    NoValue {
        /// The field's name.
        field: String,
    },
    /// There is no such field.
    #[error("unexpected key '{key}' in '{field}'{}", hint(suggestion.as_deref()))]
    UnknownKey {
        /// The field's name.
        key: String,
        /// The field.
        field: String,
        /// The name that was probably meant.
        suggestion: Option<String>,
    },
    /// A field that this kind of mount does not have.
    #[error("unexpected key '{key}' for mount type '{kind}'")]
    ForeignKey {
        /// The field's name.
        key: &'static str,
        /// The kind of mount.
        kind: MountType,
    },
    /// A variable where none is expanded.
    #[error("'{key}' doesn't support variable expansion, define alias stage instead")]
    Variable {
        /// The field's name.
        key: &'static str,
    },
    /// There is no such kind of mount.
    #[error("unsupported mount type {}{}", quoted(value), hint(suggestion.as_deref()))]
    Type {
        /// The value.
        value: String,
        /// The kind that was probably meant.
        suggestion: Option<String>,
    },
    /// There is no such way of sharing.
    #[error("unsupported sharing value {}{}", quoted(value), hint(suggestion.as_deref()))]
    Sharing {
        /// The value.
        value: String,
        /// The way that was probably meant.
        suggestion: Option<String>,
    },
    /// A truth value or a size cannot be read.
    #[error("invalid value for {key}: {value}")]
    Value {
        /// The field's name.
        key: String,
        /// Its value.
        value: String,
    },
    /// A number cannot be read.
    #[error("invalid value {value} for {key}")]
    Number {
        /// The field's name.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// Ownership or permissions on a kind of mount that has none.
    #[error("{key} not allowed for {} type mounts", quoted(&kind.to_string()))]
    Ownership {
        /// The field's name.
        key: &'static str,
        /// The kind of mount.
        kind: MountType,
    },
    /// A secret that comes from a stage.
    #[error("secret mount should not have a from")]
    SecretFrom,
    /// A secret with a way of sharing.
    #[error("secret mount should not define sharing")]
    SecretSharing,
    /// A secret without a name.
    #[error("invalid secret mount. one of source, target required")]
    SecretNameless,
    /// A secret with two names.
    #[error("both source and id can't be set")]
    SecretNames,
    /// A way of sharing on another kind than a cache.
    #[error("invalid cache sharing set for {kind} mount")]
    SharingWithoutCache {
        /// The kind of mount.
        kind: MountType,
    },
}
