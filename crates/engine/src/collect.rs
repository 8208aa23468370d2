//! Garbage collection: what the rules ask for, and whether it is needed.

use std::ops::ControlFlow;
use std::time::SystemTime;

use kiln_solver::KeyStore;
use kiln_store::gc::{PruneOptions, UsageOptions, UsageRecord};
use kiln_store::{Store, disk};

use crate::cache::DatabaseKeys;
use crate::error::{BuildError, Kind};
use crate::gc::{GcPolicy, GcSettings};
use crate::history::History;
use crate::tree::store_error;

/// Growth below this never makes the engine look whether it is over a limit.
const SMALLEST_STEP: u64 = 1 << 20;

/// Growth above this always does.
const LARGEST_STEP: u64 = 1 << 30;

/// Limits are looked after at this part of them.
const STEPS: u64 = 64;

/// Everything that upkeep works on.
pub(crate) struct Collector {
    pub(crate) store: Store,
    pub(crate) keys: std::sync::Arc<DatabaseKeys>,
    pub(crate) gc: GcSettings,
    pub(crate) history: History,
}

/// What a store took when it was last measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gauge {
    used: u64,
    /// Bytes free on its disk at that time.
    free: u64,
    /// By how much that must have shrunk to be looked into.
    step: u64,
    /// What `step` is when nothing speaks against it.
    usual_step: u64,
}

impl Gauge {
    /// What could not be removed before may be removed now.
    pub(crate) fn be_hopeful(&mut self) {
        self.step = self.usual_step;
    }
}

/// Removes what nobody uses, as the options say, with the cache keys that led
/// to it. Blocks.
pub(crate) fn prune(
    store: &Store,
    keys: &DatabaseKeys,
    options: &PruneOptions,
) -> Result<Vec<UsageRecord>, BuildError> {
    prune_and_tell(store, keys, options, &mut |_| ControlFlow::Continue(()))
}

/// The same, telling of each record as it goes. Whoever is told may stop it.
pub(crate) fn prune_and_tell(
    store: &Store,
    keys: &DatabaseKeys,
    options: &PruneOptions,
    told: &mut dyn FnMut(&UsageRecord) -> ControlFlow<()>,
) -> Result<Vec<UsageRecord>, BuildError> {
    let mut removed = Vec::new();
    let pruned = store.prune(options, &mut |record| {
        let go_on = told(&record).is_continue();
        removed.push(record);
        go_on
    });
    for record in &removed {
        let released = keys.release(&record.id);
        released.map_err(|error| BuildError::new(Kind::Environment, error.to_string()))?;
    }
    pruned.map_err(store_error)?;
    Ok(removed)
}

impl Collector {
    /// Makes earlier results durable, keeps the store within its limits, and
    /// removes old records of builds. Blocks.
    pub(crate) fn upkeep(&self) {
        let report = |what: &str, outcome: Result<(), BuildError>| {
            if let Err(error) = outcome {
                tracing::warn!(%error, "upkeep of the store: {what}");
            }
        };
        let expired = self.history.remove_expired_now(SystemTime::now());
        let expired = expired.map_err(|error| BuildError::wrap(Kind::Environment, error));
        report("old build records stay", expired.map(drop));
        let synced = self.store.sync().map_err(store_error);
        report("results are not durable", synced);
        report("garbage stays", self.collect().map(drop));
    }

    /// Applies all rules. Blocks.
    pub(crate) fn collect(&self) -> Result<Vec<UsageRecord>, BuildError> {
        let mut removed = Vec::new();
        for policy in self.policies()? {
            let policy = self.within(policy)?;
            removed.extend(prune(&self.store, &self.keys, &policy)?);
        }
        Ok(removed)
    }

    /// The rules for this store.
    pub(crate) fn policies(&self) -> Result<Vec<GcPolicy>, BuildError> {
        self.gc.policies(&self.store).map_err(store_error)
    }

    /// The rule with room for what no record tells of, such as trees that steps
    /// are writing: a limit is on all that the store takes.
    fn within(&self, policy: GcPolicy) -> Result<GcPolicy, BuildError> {
        if policy.max_used_space == 0 || !policy.filters.is_empty() {
            return Ok(policy);
        }
        let others = self.store.unaccounted().map_err(store_error)?;
        // Zero would be no limit at all.
        let max_used_space = policy.max_used_space.saturating_sub(others).max(1);
        Ok(GcPolicy {
            max_used_space,
            ..policy
        })
    }

    /// Applies all rules if the store is over a limit. Cheap as long as the
    /// disk has hardly filled since the last time, which `gauge` is of; answers
    /// the new one. Blocks.
    pub(crate) fn collect_if_over(&self, gauge: Option<Gauge>) -> Result<Collected, BuildError> {
        let policies = self.policies()?;
        let free = disk::free(self.store.root()).map_err(|error| store_error(error.into()))?;
        if let Some(gauge) = gauge {
            let grown = gauge.free.saturating_sub(free);
            if grown < gauge.step || !is_over(&policies, gauge.used + grown, free) {
                return Ok(Collected::nothing(gauge));
            }
        }
        let usual_step = step(&policies);
        let mut gauge = Gauge {
            used: self.used()?,
            free,
            step: gauge.map_or(usual_step, |gauge| gauge.step),
            usual_step,
        };
        if !is_over(&policies, gauge.used, free) {
            return Ok(Collected::nothing(gauge));
        }
        let removed = self.collect()?;
        if removed.is_empty() {
            // All is in use. Looking again makes sense when much has changed.
            gauge.step = gauge.step.saturating_mul(2);
            return Ok(Collected::nothing(gauge));
        }
        Ok(Collected {
            removed,
            gauge: Gauge {
                used: self.used()?,
                free: disk::free(self.store.root()).map_err(|error| store_error(error.into()))?,
                step: usual_step,
                usual_step,
            },
        })
    }

    /// All that the store takes but what named images share.
    fn used(&self) -> Result<u64, BuildError> {
        let records = self.store.disk_usage(&UsageOptions::default());
        let records = records.map_err(store_error)?;
        let private = records.iter().filter(|record| !record.shared);
        let recorded: u64 = private.map(|record| record.size).sum();
        Ok(recorded + self.store.unaccounted().map_err(store_error)?)
    }
}

/// What a look at the limits came to.
pub(crate) struct Collected {
    pub(crate) removed: Vec<UsageRecord>,
    pub(crate) gauge: Gauge,
}

impl Collected {
    fn nothing(gauge: Gauge) -> Self {
        Self {
            removed: Vec::new(),
            gauge,
        }
    }
}

/// Whether any rule that bounds the whole store asks for less.
fn is_over(policies: &[GcPolicy], used: u64, free: u64) -> bool {
    policies
        .iter()
        .filter_map(|policy| Some((policy, bound(policy)?)))
        .any(|(policy, bound)| {
            let is_full = policy.min_free_space > free && used > policy.reserved_space;
            used > bound || is_full
        })
}

/// The bytes that a rule leaves; `None` if it is no limit on the whole store.
fn bound(policy: &GcPolicy) -> Option<u64> {
    if !policy.filters.is_empty() {
        return None;
    }
    match (
        policy.max_used_space,
        policy.min_free_space,
        policy.reserved_space,
    ) {
        (0, 0, 0) => None,
        // Only free space counts.
        (0, 1.., _) => Some(u64::MAX),
        (max_used, _, reserved) => Some(max_used.max(reserved)),
    }
}

fn step(policies: &[GcPolicy]) -> u64 {
    let smallest = policies.iter().filter_map(bound).min();
    (smallest.unwrap_or(u64::MAX) / STEPS).clamp(SMALLEST_STEP, LARGEST_STEP)
}
