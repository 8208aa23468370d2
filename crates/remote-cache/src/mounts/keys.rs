//! The keys of `--export-cache` and `--import-cache` that are about cache mounts.

use std::str::FromStr;

use oci_spec::image::Digest;

use crate::options::{Attributes, OptionError};

/// Whether cache mounts go with a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MountsWanted {
    /// Nothing was said: none are exported, and those that are there are imported.
    #[default]
    Unsaid,
    /// `mounts=true`.
    Yes,
    /// `mounts=false`.
    No,
}

/// What a cache's keys say about cache mounts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MountKeys {
    /// `mounts`.
    pub wanted: MountsWanted,
    /// `mounts.digest`: the manifest that a client elsewhere has in its directory, whose tags it alone can read.
    pub digest: Option<Digest>,
}

impl MountKeys {
    /// Takes the keys out of those of a cache. Where mounts cannot be, the keys stay, to be refused with all others
    /// that are not known.
    pub fn take(kind: &str, attributes: &mut Attributes) -> Result<Self, OptionError> {
        if kind == "inline" {
            return Ok(Self::default());
        }
        let wanted = match attributes.remove("mounts") {
            None => MountsWanted::Unsaid,
            Some(text) => match text.as_str() {
                "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => MountsWanted::Yes,
                "0" | "f" | "F" | "false" | "FALSE" | "False" => MountsWanted::No,
                _ => return Err(wrong("mounts", text, "is neither true nor false")),
            },
        };
        let digest = match kind {
            "local" => attributes.remove("mounts.digest"),
            _ => None,
        };
        let digest = match digest {
            Some(text) if !text.is_empty() => match Digest::from_str(&text) {
                Ok(digest) => Some(digest),
                Err(_) => return Err(wrong("mounts.digest", text, "is no digest")),
            },
            _ => None,
        };
        Ok(Self { wanted, digest })
    }
}

fn wrong(key: &'static str, value: String, reason: &str) -> OptionError {
    OptionError::Value {
        key: key.into(),
        value,
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(kind: &str, keys: &[(&str, &str)]) -> Result<(MountKeys, Attributes), OptionError> {
        let pairs = keys
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()));
        let mut attributes: Attributes = pairs.collect();
        MountKeys::take(kind, &mut attributes).map(|keys| (keys, attributes))
    }

    #[test]
    fn keys_are_taken_where_mounts_can_be() {
        let (keys, rest) = take("local", &[("mounts", "true"), ("dest", "x")]).unwrap();
        assert_eq!(keys.wanted, MountsWanted::Yes);
        assert_eq!(rest.keys().collect::<Vec<_>>(), ["dest"]);
        let (keys, rest) = take("registry", &[("mounts", "false")]).unwrap();
        assert_eq!((keys.wanted, rest.len()), (MountsWanted::No, 0));
        let (keys, rest) = take("inline", &[("mounts", "true")]).unwrap();
        assert_eq!((keys.wanted, rest.len()), (MountsWanted::Unsaid, 1));
        let (keys, rest) = take("s3", &[("mounts", ""), ("mounts.digest", "x")]).unwrap();
        assert_eq!((keys.wanted, rest.len()), (MountsWanted::Yes, 1));
        for wrong in [("mounts", "yes"), ("mounts.digest", "latest")] {
            assert!(take("local", &[wrong]).is_err(), "{wrong:?}");
        }
    }
}
