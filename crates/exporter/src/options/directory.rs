//! Keys of the `local` and `tar` outputs.

use super::attrs::Attributes;
use super::{EpochOption, OptionError};

/// What happens to files that are in the destination but not in the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocalMode {
    /// They stay.
    #[default]
    Copy,
    /// They are removed, so that the destination equals the result.
    Delete,
}

/// Keys of `type=local`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalOptions {
    /// `mode`.
    pub mode: LocalMode,
    /// `platform-split`: a folder per platform; `None` does so for results of shape index.
    pub platform_split: Option<bool>,
    /// `source-date-epoch`: the time that every file gets.
    pub epoch: EpochOption,
}

/// Keys of `type=tar`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TarOptions {
    /// `platform-split`: a folder per platform; `None` does so for results of shape index.
    pub platform_split: Option<bool>,
    /// `source-date-epoch`: the time that every file gets.
    pub epoch: EpochOption,
}

impl LocalOptions {
    pub(crate) fn take(attrs: &mut Attributes) -> Result<Self, OptionError> {
        let mode = match attrs.text("mode").as_deref() {
            None | Some("" | "copy") => LocalMode::Copy,
            Some("delete") => LocalMode::Delete,
            Some(other) => return Err(OptionError::LocalMode(other.to_owned())),
        };
        let TarOptions {
            platform_split,
            epoch,
        } = TarOptions::take(attrs)?;
        Ok(Self {
            mode,
            platform_split,
            epoch,
        })
    }
}

impl TarOptions {
    pub(crate) fn take(attrs: &mut Attributes) -> Result<Self, OptionError> {
        if attrs.text("attestation-prefix").is_some() {
            return Err(OptionError::not_yet("attestation-prefix"));
        }
        Ok(Self {
            platform_split: attrs.switch("platform-split")?,
            epoch: attrs.epoch()?,
        })
    }
}
