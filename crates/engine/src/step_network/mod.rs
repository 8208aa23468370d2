//! The network of steps: the machine's own, or a proxy that sees and judges everything.

mod record;
mod rules;
mod watched;

use kiln_llb::pb::NetMode;

pub(crate) use record::{Seen, show};
pub(crate) use rules::BuildRules;
pub(crate) use watched::{StepProxies, WatchedNetwork};

/// What makes cache keys of steps behind a proxy others than those of the same steps with a network of their own.
pub(crate) const SALT: &str = "-proxy-network";

/// How steps reach the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StepNetwork {
    /// By themselves, as far as they ask for it.
    #[default]
    Direct,
    /// By a proxy alone, which lists what they fetch and asks the build's source policies.
    Proxied,
}

impl StepNetwork {
    /// Whether a process that asks for the network `mode` of LLB gets a proxy instead.
    pub(crate) fn is_proxied(self, mode: i32) -> bool {
        self == Self::Proxied && mode != NetMode::None as i32
    }
}
