//! Reading a `--mount` flag field by field.

use kiln_llb::git_url::parse_bool;

use super::{Mount, MountError, MountType, Sharing};
use crate::instruction::size;
use crate::suggest::{Casing, closest};

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

/// A mount of which not all fields are known.
#[derive(Default)]
pub(super) struct Draft {
    mount: Mount,
    /// Whether writes are refused, if the flag says so itself.
    readonly: Option<bool>,
}

impl Draft {
    /// A field without a value.
    pub(super) fn set_bare(&mut self, key: &str) -> Result<(), MountError> {
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

    pub(super) fn set(&mut self, key: &str, value: String, field: &str) -> Result<(), MountError> {
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
    pub(super) fn finish(self) -> Result<Mount, MountError> {
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
