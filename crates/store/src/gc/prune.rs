//! Removal of what nobody uses, the least useful first.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use super::UsageRecord;
use super::usage::{Census, Entry};
use crate::disk;
use crate::filter::Filters;
use crate::lease::Lease;
use crate::lease::locks::{Mode, Purpose, Row};
use crate::refs::RecordType;
use crate::snapshot::remove_tree;
use crate::store::{Core, Store, StoreError};

/// Rows removed in one transaction.
const BATCH: usize = 64;

/// What to remove. Sizes of zero mean no limit. The meaning of all fields is upstream's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PruneOptions {
    /// Filters in containerd's syntax, of which one must match.
    pub filters: Vec<String>,
    /// Also internal records, frontends, and what named images share. An image that loses a layer is forgotten.
    pub all: bool,
    /// Keep what was used this recently.
    pub keep_duration: Duration,
    /// Never go below this many bytes.
    pub reserved_space: u64,
    /// Remove the least used until no more than this many bytes are left.
    pub max_used_space: u64,
    /// Remove the least used until this many bytes are free on the file system.
    pub min_free_space: u64,
}

impl Store {
    /// Removes records nobody uses as `options` say, each reported to `removed` as it goes, then blobs that
    /// nothing needs. Return `false` from `removed` to stop.
    pub fn prune(
        &self,
        options: &PruneOptions,
        removed: &mut dyn FnMut(UsageRecord) -> bool,
    ) -> Result<(), StoreError> {
        let core = self.core();
        super::sweep::leftovers(core, &AtomicBool::new(false))?;
        let mut census = Census::take(core)?;
        census.measure(core)?;
        let total = match options.all {
            true => census.size(),
            false => census.private_size(),
        };
        let free = if options.min_free_space > 0 {
            disk::free(&core.root)?
        } else {
            0
        };
        let mut pruning = Pruning {
            core,
            children: census.children(),
            census,
            filters: Filters::parse(&options.filters)?,
            options,
            cut_off: SystemTime::now().checked_sub(options.keep_duration),
            keep: keep_bytes(options, total, free),
            total,
            given_up: HashSet::new(),
        };
        if pruning.run(removed)? {
            if options.all {
                core.forget_broken_images()?;
            }
            remove_unneeded_blobs(core)?;
        }
        Ok(())
    }
}

/// How many bytes may stay; `None` if all may go.
fn keep_bytes(options: &PruneOptions, total: u64, free: u64) -> Option<u64> {
    let PruneOptions {
        reserved_space,
        max_used_space,
        min_free_space,
        ..
    } = *options;
    if reserved_space == 0 && max_used_space == 0 && min_free_space == 0 {
        return None;
    }
    let limit = (max_used_space > 0).then_some(max_used_space);
    let for_free_space = match min_free_space.saturating_sub(free) {
        0 if min_free_space == 0 => None,
        // Enough is free. If that is all that was asked for, everything stays.
        0 => limit.is_none().then_some(total),
        excess => Some(total.saturating_sub(excess)),
    };
    let keep = match (limit, for_free_space) {
        (Some(limit), Some(other)) => limit.min(other),
        (limit, other) => limit.or(other).unwrap_or(0),
    };
    Some(keep.max(reserved_space))
}

struct Pruning<'a> {
    core: &'a Core,
    census: Census,
    /// How many records are built on each.
    children: HashMap<Row, usize>,
    filters: Filters,
    options: &'a PruneOptions,
    cut_off: Option<SystemTime>,
    keep: Option<u64>,
    total: u64,
    /// Rows that turned out to be in use or to have new children.
    given_up: HashSet<Row>,
}

impl Pruning<'_> {
    /// Removes round by round: what is left without children may go in the next one. Whether it ran to the end.
    fn run(&mut self, removed: &mut dyn FnMut(UsageRecord) -> bool) -> Result<bool, StoreError> {
        loop {
            if self.keep.is_some_and(|keep| self.total <= keep) {
                return Ok(true);
            }
            let mut candidates = self.candidates();
            if candidates.is_empty() {
                return Ok(true);
            }
            match self.keep {
                Some(_) => {
                    candidates = least_useful(&self.census, candidates).into_iter().collect()
                }
                None => candidates.truncate(BATCH),
            }
            for row in self.remove(&candidates)? {
                let Some(entry) = self.forget(row) else {
                    continue;
                };
                if !removed(entry.record) {
                    return Ok(false);
                }
            }
        }
    }

    fn candidates(&self) -> Vec<Row> {
        let wanted = |(row, entry): (&Row, &Entry)| {
            let is_free = !entry.held && self.children.get(row).is_none_or(|count| *count == 0);
            (is_free && !self.given_up.contains(row) && self.may_go(entry)).then_some(*row)
        };
        let mut rows: Vec<Row> = self.census.entries.iter().filter_map(wanted).collect();
        // Youngest first, for a steady order.
        rows.sort_unstable_by(|a, b| b.cmp(a));
        rows
    }

    fn may_go(&self, entry: &Entry) -> bool {
        let record = &entry.record;
        let is_protected = matches!(
            record.record_type,
            RecordType::Internal | RecordType::Frontend
        ) || record.shared;
        let is_recent = match (self.cut_off, record.last_used) {
            (Some(cut_off), Some(last_used)) => {
                !self.options.keep_duration.is_zero() && last_used > cut_off
            }
            _ => false,
        };
        (self.options.all || !is_protected)
            && !is_recent
            && self.filters.matches(|name| record.field(name))
    }

    /// Removes those rows that are still unused, and returns them.
    fn remove(&mut self, rows: &[Row]) -> Result<Vec<Row>, StoreError> {
        let owner = self.core.new_lock_owner()?;
        let removed = self.core.database.transact(|transaction| {
            let mut removed = Vec::new();
            for row in rows {
                // Whoever wants the row from now on waits for this transaction and then does not find it.
                if !owner
                    .try_lock(Purpose::Use, *row, Mode::Exclusive)
                    .unwrap_or(false)
                {
                    continue;
                }
                let count = transaction
                    .prepare_cached(
                        "DELETE FROM refs WHERE row = ?1
                         AND NOT EXISTS (SELECT 1 FROM ref_parents WHERE parent = ?1)",
                    )?
                    .execute([row])?;
                if count > 0 {
                    removed.push(*row);
                }
            }
            Ok(removed)
        })?;
        drop(owner);
        self.given_up
            .extend(rows.iter().filter(|row| !removed.contains(row)));
        for row in &removed {
            if let Some(grave) = self.core.snapshots.condemn(*row)? {
                remove_tree(&grave)?;
            }
        }
        Ok(removed)
    }

    fn forget(&mut self, row: Row) -> Option<Entry> {
        let entry = self.census.entries.remove(&row)?;
        for parent in &entry.parents {
            if let Some(count) = self.children.get_mut(parent) {
                *count -= 1;
            }
        }
        if self.options.all || !entry.record.shared {
            self.total = self.total.saturating_sub(entry.record.size);
        }
        Some(entry)
    }
}

impl Census {
    fn children(&self) -> HashMap<Row, usize> {
        let mut children = HashMap::new();
        for parent in self.entries.values().flat_map(|entry| &entry.parents) {
            *children.entry(*parent).or_insert(0) += 1;
        }
        children
    }
}

/// The candidate that was used longest ago and least often: the rank of its last use plus the rank of its count,
/// each as a part of the highest rank.
fn least_useful(census: &Census, candidates: Vec<Row>) -> Option<Row> {
    let facts = |row: &Row| {
        let record = census.entries.get(row).map(|entry| &entry.record);
        (
            record.and_then(|record| record.last_used),
            record.map_or(0, |record| record.usage_count),
        )
    };
    let mut times: Vec<SystemTime> = candidates.iter().filter_map(|row| facts(row).0).collect();
    let mut counts: Vec<u64> = candidates
        .iter()
        .map(|row| facts(row).1)
        .filter(|count| *count > 0)
        .collect();
    times.sort_unstable();
    times.dedup();
    counts.sort_unstable();
    counts.dedup();
    let rank = |position: usize, ranks: usize| (position + 1) as f64 / (ranks + 1) as f64;
    let score = |row: &Row| {
        let (time, count) = facts(row);
        let by_time = time.map_or(0, |time| times.partition_point(|other| *other <= time));
        let by_count = counts.partition_point(|other| *other <= count);
        rank(by_time, times.len()) + rank(by_count, counts.len())
    };
    candidates
        .into_iter()
        .min_by(|a, b| score(a).total_cmp(&score(b)))
}

/// Removes blobs that no ref and no image needs and no lease protects.
fn remove_unneeded_blobs(core: &Core) -> Result<(), StoreError> {
    // First the leases, then what is needed: a blob recorded and then no longer leased is found either way.
    let oldest = Lease::oldest(&core.leases())?;
    let mut needed = core.image_blobs()?;
    core.database
        .query(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT digest FROM ref_blobs UNION SELECT digest FROM ref_attachments
                 UNION SELECT digest FROM kept_blobs",
            )?;
            let digests = query.query_map([], |row| row.get::<_, String>(0))?;
            digests.collect::<rusqlite::Result<Vec<_>>>()
        })?
        .into_iter()
        .for_each(|digest| {
            needed.insert(digest);
        });
    core.content.sweep(&needed, oldest)?;
    Ok(())
}
