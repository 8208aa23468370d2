//! What the engine removes on its own, and when it looks.

use std::path::Path;

use kiln_store::gc::{PruneOptions, SpaceLimits};
use kiln_store::{Store, StoreError};

use crate::error::{BuildError, Kind};
use crate::tree::store_error;

/// One rule of garbage collection: what a prune by these options would remove,
/// the engine removes by itself.
pub type GcPolicy = PruneOptions;

/// By what rules the engine collects garbage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum GcSettings {
    /// By none: only [`crate::Engine::prune`] removes anything.
    Off,
    /// By BuildKit's four usual rules, within bounds that fit the disk.
    #[default]
    FitDisk,
    /// By BuildKit's four usual rules, within these bounds.
    Within(SpaceLimits),
    /// By these rules, one after the other.
    Policies(Vec<GcPolicy>),
}

impl GcSettings {
    /// The rules for a store.
    pub(crate) fn policies(&self, store: &Store) -> Result<Vec<GcPolicy>, StoreError> {
        Ok(match self {
            Self::Off => Vec::new(),
            Self::FitDisk => store.default_limits()?.policy(),
            Self::Within(limits) => limits.policy(),
            Self::Policies(policies) => policies.clone(),
        })
    }
}

/// Bytes that the file system of `path` holds in all, for limits that are given
/// as a part of the disk ([`SpaceLimits::part`]). The path need not exist yet.
pub fn disk_size(path: &Path) -> Result<u64, BuildError> {
    let existing = path.ancestors().find(|path| path.exists());
    let Some(existing) = existing else {
        let message = format!("cannot find a file system for {}", path.display());
        return Err(BuildError::new(Kind::Environment, message));
    };
    kiln_store::disk::size(existing).map_err(|error| store_error(error.into()))
}

/// When the engine looks after its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Upkeep {
    /// Beside a build that begins, at most every ten minutes: for processes
    /// that live for one build.
    #[default]
    BesideBuilds,
    /// Soon after start and after builds: for processes that stay.
    Always,
}
