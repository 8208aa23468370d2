//! Garbage collection: what the configuration asks for, as rules for the disk
//! at hand.

use std::path::Path;
use std::time::Duration;

use kiln_engine::{GcPolicy, GcSettings, SpaceLimits, disk_size};

use crate::config::{self, DiskSpace, OciWorker};

/// The rules for a worker whose state is in `root`.
pub(super) fn settings(worker: &OciWorker, root: &Path) -> GcSettings {
    if worker.gc == Some(false) {
        return GcSettings::Off;
    }
    // Percentages of a disk that cannot be looked at are what upstream takes
    // them for; the engine will say what is wrong with the disk.
    let disk = disk_size(root).unwrap_or(0);
    let bytes = |space: Option<DiskSpace>| space.map_or(0, |space| space.on_disk(disk));
    if !worker.gcpolicy.is_empty() {
        let policies = worker.gcpolicy.iter().map(|policy| rule(policy, &bytes));
        return GcSettings::Policies(policies.collect());
    }
    match worker.gc_settings() {
        None => GcSettings::FitDisk,
        Some(bounds) => GcSettings::Within(SpaceLimits {
            reserved: bytes(bounds.reserved),
            max_used: bytes(bounds.max_used),
            min_free: bytes(bounds.min_free),
        }),
    }
}

fn rule(policy: &config::GcPolicy, bytes: &dyn Fn(Option<DiskSpace>) -> u64) -> GcPolicy {
    GcPolicy {
        filters: policy.filters.clone(),
        all: policy.all,
        keep_duration: policy.keep_duration.map_or(Duration::ZERO, |span| span.0),
        reserved_space: bytes(policy.reserved_space.or(policy.keep_bytes)),
        max_used_space: bytes(policy.max_used_space),
        min_free_space: bytes(policy.min_free_space),
    }
}
