//! `RUN --mount`.

use std::fmt;

use super::MountError;

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
    /// Reads the flag, passing every value through `expand` first.
    ///
    /// # Errors
    /// The first error of `expand`, or what is wrong with the flag.
    pub fn evaluate<E: From<MountError>>(
        &self,
        expand: &mut impl FnMut(&str) -> Result<String, E>,
    ) -> Result<Mount, E> {
        let _ = expand;
        Ok(Mount::default())
    }
}

impl MountType {
    /// All kinds by name.
    pub const NAMES: [&'static str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
}

impl fmt::Display for MountType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        })
    }
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "shared",
            Self::Private => "private",
            Self::Locked => "locked",
        })
    }
}
