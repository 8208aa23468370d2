//! What a build's steps are done in: the same step in other surroundings is another one.

use crate::step_network::StepNetwork;

/// A behaviour that changes digests, by the BuildKit that had it first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Compatibility {
    /// 0.13: files of git repositories may be written by everybody; no layers compressed by zstd.
    V10,
    /// 0.15: images have Docker's media types.
    V20,
    /// 0.31, and ours.
    #[default]
    V30,
}

impl Compatibility {
    const ALL: [Self; 3] = [Self::V10, Self::V20, Self::V30];

    /// BuildKit's number for it.
    pub fn number(self) -> u32 {
        match self {
            Self::V10 => 10,
            Self::V20 => 20,
            Self::V30 => 30,
        }
    }

    /// The one of a number, of which 0 is the newest; else why there is none, in BuildKit's words.
    pub fn of(number: i64) -> Result<Self, String> {
        let newest = Self::default();
        if number == 0 {
            return Ok(newest);
        }
        let mut all = Self::ALL.into_iter();
        let known = all.find(|it| i64::from(it.number()) == number);
        known.ok_or_else(|| match number > i64::from(newest.number()) {
            true => format!(
                "unsupported compatibility-version {number}: upgrade buildkit (max supported: {})",
                newest.number()
            ),
            false => format!("unsupported compatibility-version {number} (supported: [10 20 30])"),
        })
    }
}

/// All that a build has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Surroundings {
    pub(crate) network: StepNetwork,
    pub(crate) compatibility: Compatibility,
}

impl Surroundings {
    /// Keeps steps apart while they run that would be one in equal surroundings.
    pub(crate) fn realm(self) -> Option<&'static str> {
        let is_first = self.compatibility == Compatibility::V10;
        match (self.network, is_first) {
            (StepNetwork::Direct, false) => None,
            (StepNetwork::Direct, true) => Some("-compatibility-10"),
            (StepNetwork::Proxied, false) => Some("-proxy-network"),
            (StepNetwork::Proxied, true) => Some("-proxy-network-compatibility-10"),
        }
    }
}
