//! What can be wrong with a single instruction. The texts are BuildKit's, because tools match on them.

use super::{DurationError, FieldsError, MountError};
use crate::error::quoted;
use crate::suggest::hint;

/// What is wrong with an instruction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstructionError {
    /// There is no such instruction.
    #[error("unknown instruction: {keyword}{}", hint(suggestion.as_deref()))]
    Unknown {
        /// The keyword as written.
        keyword: String,
        /// The instruction that was probably meant.
        suggestion: Option<String>,
    },
    /// There is no such flag.
    #[error("unknown flag: --{flag}{}", hint(suggestion.as_deref()))]
    UnknownFlag {
        /// The flag without its dashes.
        flag: String,
        /// The flag that was probably meant.
        suggestion: Option<String>,
    },
    /// A flag that holds one value stands twice.
    #[error("duplicate flag specified: --{flag}")]
    DuplicateFlag {
        /// The flag without its dashes.
        flag: String,
    },
    /// A flag has no value but needs one.
    #[error("missing a value on flag: --{flag}")]
    FlagWithoutValue {
        /// The flag without its dashes.
        flag: String,
    },
    /// A flag's value is not a truth value.
    #[error("expecting boolean value for flag --{flag}, not: {value}")]
    FlagNotBool {
        /// The flag without its dashes.
        flag: String,
        /// Its value.
        value: String,
    },
    /// The instruction needs an argument.
    #[error("{keyword} requires at least one argument")]
    NoArguments {
        /// The instruction.
        keyword: &'static str,
    },
    /// The instruction needs one argument.
    #[error("{keyword} requires exactly one argument")]
    NotOneArgument {
        /// The instruction.
        keyword: &'static str,
    },
    /// `ADD` or `COPY` lacks its destination.
    #[error(
        "{keyword} requires at least two arguments, but only one was provided. Destination could not be determined"
    )]
    NoDestination {
        /// The instruction.
        keyword: &'static str,
    },
    /// The destination of `ADD` or `COPY` is a heredoc.
    #[error("{keyword} cannot accept a heredoc as a destination")]
    HeredocDestination {
        /// The instruction.
        keyword: &'static str,
    },
    /// A name is empty.
    #[error("{keyword} names can not be blank")]
    BlankName {
        /// The instruction.
        keyword: &'static str,
    },
    /// `FROM` has neither of its two shapes.
    #[error("FROM requires either one or three arguments")]
    FromArguments,
    /// A stage's name has characters it must not have.
    #[error(
        "invalid name for build stage: {}, name can't start with a number or contain symbols",
        quoted(name)
    )]
    StageName {
        /// The name as written.
        name: String,
    },
    /// `ONBUILD ONBUILD`.
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    ChainedOnbuild,
    /// An instruction that cannot be a trigger.
    #[error("{keyword} isn't allowed as an ONBUILD trigger")]
    Trigger {
        /// The instruction.
        keyword: String,
    },
    /// `HEALTHCHECK NONE` with arguments.
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthcheckNone,
    /// `HEALTHCHECK CMD` without a command.
    #[error("Missing command after HEALTHCHECK CMD")]
    HealthcheckCommand,
    /// `HEALTHCHECK` with another word than `CMD` and `NONE`.
    #[error("Unknown type {} in HEALTHCHECK (try CMD)", quoted(kind))]
    HealthcheckType {
        /// The word in upper case.
        kind: String,
    },
    /// An interval of `HEALTHCHECK` cannot be read.
    #[error(transparent)]
    Duration(#[from] DurationError),
    /// An interval of `HEALTHCHECK` is too short.
    #[error("Interval {} cannot be less than 1ms", quoted(flag))]
    ShortInterval {
        /// The flag.
        flag: &'static str,
    },
    /// `--retries` of `HEALTHCHECK` is not a number.
    #[error("strconv.ParseInt: parsing {}: {reason}", quoted(value))]
    Retries {
        /// The value.
        value: String,
        /// `invalid syntax` or `value out of range`.
        reason: &'static str,
    },
    /// `--retries` of `HEALTHCHECK` is below zero.
    #[error("--retries cannot be negative ({retries})")]
    NegativeRetries {
        /// The value.
        retries: i32,
    },
    /// A mount point of `VOLUME` is empty.
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    /// `SHELL` in another form than JSON.
    #[error("{keyword} requires the arguments to be in JSON form")]
    NotJson {
        /// The instruction.
        keyword: &'static str,
    },
    /// `RUN --network` with an unknown value.
    #[error("invalid network mode {}", quoted(value))]
    Network {
        /// The value.
        value: String,
    },
    /// `RUN --security` with an unknown value.
    #[error("security {} is not valid", quoted(value))]
    Security {
        /// The value.
        value: String,
    },
    /// `RUN --mount` is malformed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// `RUN --device` is not a list of fields.
    #[error("failed to parse csv devices: {0}")]
    DeviceFields(FieldsError),
    /// A field of `RUN --device` has no value but needs one.
    #[error("invalid field '{field}' must be a key=value pair")]
    DeviceField {
        /// The field.
        field: String,
    },
    /// `RUN --device` names two devices.
    #[error("device name already set to {name}")]
    DeviceName {
        /// The first name.
        name: String,
    },
    /// A field of `RUN --device` is not a truth value.
    #[error("invalid value for {key}: {value}")]
    DeviceValue {
        /// The field's name.
        key: String,
        /// Its value.
        value: String,
    },
    /// `RUN --device` has no such field.
    #[error("unexpected key '{key}' in '{field}'{}", hint(suggestion.as_deref()))]
    DeviceKey {
        /// The field's name.
        key: String,
        /// The field.
        field: String,
        /// The name that was probably meant.
        suggestion: Option<String>,
    },
}
