//! `RUN --mount`.

mod draft;
mod error;

use std::fmt;

use super::fields;
use crate::suggest::{Casing, closest};
use draft::Draft;
pub use error::MountError;

/// A `--mount` flag as written. Its values may hold variables, so it becomes a [`Mount`] only through
/// [`MountFlag::evaluate`]; the source alone is known from the start, because it decides which stages a step needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountFlag {
    /// The flag's value.
    pub text: String,
    /// The value of `from`, in which variables are not allowed; empty if not given.
    pub from: String,
}

/// A mount of a `RUN` step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mount {
    /// What kind of mount it is.
    pub kind: MountType,
    /// Stage, context or image that the content comes from; empty for the build context or none.
    pub from: String,
    /// Path within `from`, or the id of a secret.
    pub source: String,
    /// Where it is mounted; empty for the kind's default.
    pub target: String,
    /// Whether writes are refused.
    pub readonly: bool,
    /// Size limit of a tmpfs in bytes; zero for none.
    pub size_limit: i64,
    /// `id` of a cache, secret or ssh agent; empty if not given.
    pub id: String,
    /// `sharing` of a cache, if given.
    pub sharing: Option<Sharing>,
    /// Whether the step fails if the client does not have the secret or agent.
    pub required: bool,
    /// `env`: the variable that holds a secret; an empty name stands for the default one.
    pub env: Option<String>,
    /// `mode`, if given.
    pub mode: Option<u32>,
    /// `uid`, if given.
    pub uid: Option<u32>,
    /// `gid`, if given.
    pub gid: Option<u32>,
}

/// The kinds of mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MountType {
    /// Files of a stage, an image or the context.
    #[default]
    Bind,
    /// A directory that lives on between builds.
    Cache,
    /// A filesystem in memory.
    Tmpfs,
    /// A secret of the client.
    Secret,
    /// An ssh agent of the client.
    Ssh,
}

/// How steps that run at the same time share a cache mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// All at once.
    Shared,
    /// Each gets its own.
    Private,
    /// One after the other.
    Locked,
}

impl MountFlag {
    /// Takes the flag apart as far as that goes without variables.
    pub(super) fn parse(text: &str) -> Result<Self, MountError> {
        let mut from = String::new();
        for field in fields::split(text).map_err(MountError::Fields)? {
            let Some((key, value)) = field.split_once('=') else {
                continue;
            };
            if !key.eq_ignore_ascii_case("from") {
                continue;
            }
            // A dollar sign at the very end is not a variable.
            if value
                .find('$')
                .is_some_and(|dollar| dollar + 1 != value.len())
            {
                return Err(MountError::Variable { key: "from" });
            }
            from = value.to_owned();
        }
        Ok(Self {
            text: text.to_owned(),
            from,
        })
    }

    /// Reads the flag, passing every value through `expand` first.
    ///
    /// # Errors
    /// The first error of `expand`, or what is wrong with the flag.
    pub fn evaluate<E: From<MountError>>(
        &self,
        expand: &mut impl FnMut(&str) -> Result<String, E>,
    ) -> Result<Mount, E> {
        let mut draft = Draft::default();
        for field in fields::split(&self.text).map_err(MountError::Fields)? {
            match field.split_once('=') {
                None => draft.set_bare(&field.to_lowercase())?,
                Some((key, value)) => draft.set(&key.to_lowercase(), expand(value)?, &field)?,
            }
        }
        Ok(draft.finish()?)
    }
}

impl MountType {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Bind,
        Self::Cache,
        Self::Tmpfs,
        Self::Secret,
        Self::Ssh,
    ];

    fn parse(value: &str) -> Result<Self, MountError> {
        Self::ALL
            .into_iter()
            .find(|kind| value.to_lowercase() == kind.as_str())
            .ok_or_else(|| MountError::Type {
                value: value.to_owned(),
                suggestion: closest(value, Self::ALL.map(Self::as_str), Casing::Sensitive),
            })
    }

    /// The kind's name in a `--mount` flag.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        }
    }
}

impl Sharing {
    /// All ways.
    pub const ALL: [Self; 3] = [Self::Shared, Self::Private, Self::Locked];

    fn parse(value: &str) -> Result<Self, MountError> {
        Self::ALL
            .into_iter()
            .find(|way| value.to_lowercase() == way.as_str())
            .ok_or_else(|| MountError::Sharing {
                value: value.to_owned(),
                suggestion: closest(value, Self::ALL.map(Self::as_str), Casing::Sensitive),
            })
    }

    /// The way's name in a `--mount` flag.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Private => "private",
            Self::Locked => "locked",
        }
    }
}

impl fmt::Display for MountType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
