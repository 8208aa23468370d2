//! `RUN --mount`.

use std::fmt;

use super::{MountError, fields, size};
use crate::lint::parse_bool;
use crate::suggest::{Casing, closest};

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

/// The fields of a mount.
const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

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

/// A mount of which not all fields are known.
#[derive(Default)]
struct Draft {
    mount: Mount,
    /// Whether writes are refused, if the flag says so itself.
    readonly: Option<bool>,
}

impl Draft {
    /// A field without a value.
    fn set_bare(&mut self, key: &str) -> Result<(), MountError> {
        match key {
            "readonly" | "ro" => self.readonly = Some(true),
            "readwrite" | "rw" => self.readonly = Some(false),
            "required" => {
                self.only_for(&[MountType::Secret, MountType::Ssh], "required")?;
                self.mount.required = true;
            }
            _ => {
                return Err(MountError::NoValue {
                    field: key.to_owned(),
                });
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: String, field: &str) -> Result<(), MountError> {
        match key {
            "type" => self.mount.kind = MountType::parse(&value)?,
            "from" => self.mount.from = value,
            "source" | "src" => self.mount.source = value,
            "target" | "dst" | "destination" => self.mount.target = value,
            "readonly" | "ro" => self.readonly = Some(truth(key, value)?),
            "readwrite" | "rw" => self.readonly = Some(!truth(key, value)?),
            "required" => {
                self.only_for(&[MountType::Secret, MountType::Ssh], "required")?;
                self.mount.required = truth(key, value)?;
            }
            "size" => {
                self.only_for(&[MountType::Tmpfs], "size")?;
                self.mount.size_limit = size::parse(&value).ok_or_else(|| MountError::Value {
                    key: key.to_owned(),
                    value,
                })?;
            }
            "id" => self.mount.id = value,
            "sharing" => self.mount.sharing = Some(Sharing::parse(&value)?),
            "mode" => self.mount.mode = Some(number("mode", value, 8)?),
            "uid" => self.mount.uid = Some(number("uid", value, 10)?),
            "gid" => self.mount.gid = Some(number("gid", value, 10)?),
            "env" => self.mount.env = Some(value),
            _ => {
                let suggestion = closest(key, KEYS, Casing::Sensitive);
                return Err(MountError::UnknownKey {
                    key: key.to_owned(),
                    field: field.to_owned(),
                    suggestion,
                });
            }
        }
        Ok(())
    }

    /// Refuses a field for kinds of mount that do not have it. The kind is the one known so far: it stands first.
    fn only_for(&self, kinds: &[MountType], key: &'static str) -> Result<(), MountError> {
        if kinds.contains(&self.mount.kind) {
            return Ok(());
        }
        Err(MountError::ForeignKey {
            key,
            kind: self.mount.kind,
        })
    }

    /// Fills in what the flag leaves open and refuses what does not fit together.
    fn finish(self) -> Result<Mount, MountError> {
        let mut mount = self.mount;
        let kind = mount.kind;
        if matches!(kind, MountType::Bind | MountType::Tmpfs) {
            for (key, value) in [("mode", mount.mode), ("uid", mount.uid), ("gid", mount.gid)] {
                if value.is_some() {
                    return Err(MountError::Ownership { key, kind });
                }
            }
        }
        mount.readonly = self
            .readonly
            .unwrap_or(!matches!(kind, MountType::Cache | MountType::Tmpfs));
        if kind == MountType::Secret {
            check_secret(&mount)?;
        }
        if mount.sharing.is_some() && kind != MountType::Cache {
            return Err(MountError::SharingWithoutCache { kind });
        }
        Ok(mount)
    }
}

fn check_secret(mount: &Mount) -> Result<(), MountError> {
    if !mount.from.is_empty() {
        return Err(MountError::SecretFrom);
    }
    if mount.sharing.is_some() {
        return Err(MountError::SecretSharing);
    }
    if mount.source.is_empty() && mount.target.is_empty() && mount.id.is_empty() {
        return Err(MountError::SecretNameless);
    }
    if !mount.source.is_empty() && !mount.id.is_empty() {
        return Err(MountError::SecretNames);
    }
    Ok(())
}

fn truth(key: &str, value: String) -> Result<bool, MountError> {
    parse_bool(&value).ok_or_else(|| MountError::Value {
        key: key.to_owned(),
        value,
    })
}

fn number(key: &'static str, value: String, radix: u32) -> Result<u32, MountError> {
    // The standard library takes a sign as well.
    let digits = Some(value.as_str()).filter(|value| !value.starts_with('+'));
    let number = digits.and_then(|digits| u32::from_str_radix(digits, radix).ok());
    number.ok_or(MountError::Number { key, value })
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
