//! Amounts of disk space as `buildkitd.toml` writes them: a number of bytes,
//! `"512MB"` or `"10%"`.

use kiln_engine::SpaceLimits;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// What BuildKit assumes a percentage of a disk of unknown size to be.
const OF_UNKNOWN_DISK: u64 = 2_000_000_000;

/// An amount of disk space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskSpace {
    /// So many bytes.
    Bytes(u64),
    /// A part of the whole disk.
    Percent(u64),
}

impl DiskSpace {
    /// The amount on a disk of `total` bytes; 0 when that is not known.
    /// Percentages are rounded up to whole gigabytes, as upstream does.
    pub fn on_disk(self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(0) => 0,
            Self::Percent(_) if total == 0 => OF_UNKNOWN_DISK,
            Self::Percent(percent) => SpaceLimits::part(total, percent),
        }
    }
}

impl std::str::FromStr for DiskSpace {
    type Err = String;

    /// Units are powers of 1024 whether written `MB` or `MiB`, as upstream has
    /// them.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "invalid disk space {text:?}: write bytes, an amount like \"512MB\" or a share like \"10%\""
            )
        };
        if text.is_empty() {
            return Ok(Self::Bytes(0));
        }
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.parse::<u64>().map_err(|_| bad())?;
            return Ok(Self::Percent(percent));
        }
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let shift = shift_of(unit).ok_or_else(bad)?;
        if let Ok(whole) = number.parse::<u64>() {
            let bytes = whole.checked_mul(1 << shift).ok_or_else(bad)?;
            return Ok(Self::Bytes(bytes));
        }
        let number = number.parse::<f64>().map_err(|_| bad())?;
        Ok(Self::Bytes((number * (1u64 << shift) as f64) as u64))
    }
}

fn shift_of(unit: &str) -> Option<u32> {
    let unit = unit.trim_start().to_ascii_lowercase();
    let prefix = match unit.strip_suffix("ib") {
        Some("") => return None,
        Some(prefix) => prefix,
        None => unit.strip_suffix('b').unwrap_or(&unit),
    };
    Some(match prefix {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    })
}

impl<'de> Deserialize<'de> for DiskSpace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpaceVisitor)
    }
}

struct SpaceVisitor;

impl Visitor<'_> for SpaceVisitor {
    type Value = DiskSpace;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a number of bytes, an amount like \"512MB\" or a share like \"10%\"")
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<DiskSpace, E> {
        let bytes = u64::try_from(bytes);
        bytes
            .map(DiskSpace::Bytes)
            .map_err(|_| E::custom("disk space cannot be negative"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<DiskSpace, E> {
        text.parse().map_err(E::custom)
    }
}
