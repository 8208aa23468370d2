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
    /// `attestation-prefix`: what the names of files with attestations begin with.
    pub attestation_prefix: String,
}

/// Keys of `type=tar`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TarOptions {
    /// `platform-split`: a folder per platform; `None` does so for results of shape index.
    pub platform_split: Option<bool>,
    /// `source-date-epoch`: the time that every file gets.
    pub epoch: EpochOption,
    /// `attestation-prefix`: what the names of files with attestations begin with.
    pub attestation_prefix: String,
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
            attestation_prefix,
        } = TarOptions::take(attrs)?;
        Ok(Self {
            mode,
            platform_split,
            epoch,
            attestation_prefix,
        })
    }
}

impl TarOptions {
    pub(crate) fn take(attrs: &mut Attributes) -> Result<Self, OptionError> {
        let attestation_prefix = attrs.text("attestation-prefix").unwrap_or_default();
        if attestation_prefix.contains(['/', '\0']) {
            return Err(OptionError::AttestationPrefix(attestation_prefix));
        }
        Ok(Self {
            attestation_prefix,
            platform_split: attrs.switch("platform-split")?,
            epoch: attrs.epoch()?,
        })
    }
}
