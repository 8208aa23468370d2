//! Garbage collection: what the rules ask for, and whether it is needed.

use std::ops::ControlFlow;
use std::time::{Duration, Instant, SystemTime};

use kiln_solver::KeyStore;
use kiln_store::gc::{PruneOptions, UsageRecord};
use kiln_store::{Store, disk};

use crate::cache::DatabaseKeys;
use crate::error::{BuildError, Kind};
use crate::gc::{GcPolicy, GcSettings};
use crate::history::History;
use crate::tree::store_error;

/// A measured size is believed for so many times as long as measuring took; what
/// is free says how it has grown since. So a small store is measured at nearly
/// every step, and a large one takes at most this part of the time.
const TRUST: u32 = 50;

/// A store over its limit is brought this part of it below, so that the next
/// step does not find it over the limit again.
const SPARE_PART: u64 = 64;

/// Bounds of that part in bytes.
const SPARE: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 30;

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
    taken: Instant,
    trusted: Duration,
    used: u64,
    /// Bytes free on its disk at that time.
    free: u64,
    /// Growth below this is not worth another look: nothing could be removed
    /// the last time.
    patience: u64,
}

impl Gauge {
    /// What could not be removed before may be removed now.
    pub(crate) fn be_hopeful(&mut self) {
        self.patience = 0;
    }

    /// Whether others may have freed so much space meanwhile that growth cannot
    /// be seen any more in what is free.
    fn is_old(&self) -> bool {
        self.taken.elapsed() > self.trusted
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
        self.collect_sparing(0)
    }

    /// The same, with so many bytes below each limit.
    fn collect_sparing(&self, spare: u64) -> Result<Vec<UsageRecord>, BuildError> {
        let mut removed = Vec::new();
        for policy in self.policies()? {
            let policy = self.within(policy, spare)?;
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
    fn within(&self, policy: GcPolicy, spare: u64) -> Result<GcPolicy, BuildError> {
        if policy.max_used_space == 0 || !policy.filters.is_empty() {
            return Ok(policy);
        }
        let others = self.store.unaccounted().map_err(store_error)? + spare;
        // Zero would be no limit at all.
        let max_used_space = policy.max_used_space.saturating_sub(others).max(1);
        Ok(GcPolicy {
            max_used_space,
            ..policy
        })
    }

    /// Applies all rules if the store is over a limit. Cheap as long as it is
    /// not by `gauge`, which is of the last time; answers the new one. Blocks.
    pub(crate) fn collect_if_over(&self, gauge: Option<Gauge>) -> Result<Collected, BuildError> {
        let policies = self.policies()?;
        if policies.iter().all(|policy| bound(policy).is_none()) {
            return Ok(Collected::default());
        }
        let free = self.free()?;
        if let Some(gauge) = gauge.filter(|gauge| !gauge.is_old()) {
            let grown = gauge.free.saturating_sub(free);
            if grown < gauge.patience || !is_over(&policies, gauge.used + grown, free) {
                return Ok(Collected::nothing(gauge));
            }
        }
        let patience = gauge.map_or(0, |gauge| gauge.patience);
        let gauge = self.measure(patience)?;
        if !is_over(&policies, gauge.used, gauge.free) {
            return Ok(Collected::nothing(gauge));
        }
        let spare = spare(&policies);
        let removed = self.collect_sparing(spare)?;
        // If all is in use, looking again makes sense when much has changed.
        let patience = match removed.is_empty() {
            true => (patience * 2).max(spare),
            false => 0,
        };
        Ok(Collected {
            removed,
            gauge: Some(self.measure(patience)?),
        })
    }

    fn measure(&self, patience: u64) -> Result<Gauge, BuildError> {
        let taken = Instant::now();
        // What is written between the two is seen as growth later on.
        let free = self.free()?;
        let used = self.store.space_used().map_err(store_error)?;
        Ok(Gauge {
            taken,
            trusted: taken.elapsed() * TRUST,
            used,
            free,
            patience,
        })
    }

    fn free(&self) -> Result<u64, BuildError> {
        disk::free(self.store.root()).map_err(|error| store_error(error.into()))
    }
}

/// What a look at the limits came to.
#[derive(Default)]
pub(crate) struct Collected {
    pub(crate) removed: Vec<UsageRecord>,
    /// `None` without limits.
    pub(crate) gauge: Option<Gauge>,
}

impl Collected {
    fn nothing(gauge: Gauge) -> Self {
        Self {
            removed: Vec::new(),
            gauge: Some(gauge),
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

fn spare(policies: &[GcPolicy]) -> u64 {
    let smallest = policies.iter().filter_map(bound).min();
    let part = smallest.unwrap_or(u64::MAX) / SPARE_PART;
    part.clamp(*SPARE.start(), *SPARE.end())
}
