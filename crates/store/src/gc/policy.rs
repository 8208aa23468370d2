//! The pruning that keeps a store within bounds when nobody says otherwise.

use std::time::Duration;

use super::PruneOptions;
use crate::disk;
use crate::store::{Store, StoreError};

const MEGABYTE: u64 = 1_000_000;
const GIGABYTE: u64 = 1_000 * MEGABYTE;
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Bounds of a store in bytes; zero means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpaceLimits {
    /// Never go below this many bytes.
    pub reserved: u64,
    /// Use no more than this many bytes.
    pub max_used: u64,
    /// Leave this many bytes free on the file system.
    pub min_free: u64,
}

impl SpaceLimits {
    /// What a file system of `total` bytes gets: a tenth (at most 10 GB) reserved, at most eight tenths (at most
    /// 100 GB) used, two tenths left free.
    pub fn for_disk(total: u64) -> SpaceLimits {
        SpaceLimits {
            reserved: SpaceLimits::part(total, 10).min(10 * GIGABYTE),
            max_used: SpaceLimits::part(total, 80).min(100 * GIGABYTE),
            min_free: SpaceLimits::part(total, 20),
        }
    }

    /// Part of a disk of `total` bytes, in percent: rounded up to whole gigabytes as upstream rounds it.
    pub fn part(total: u64, percent: u64) -> u64 {
        let bytes = u128::from(total) * u128::from(percent) / 100;
        ((bytes >> 30) as u64 + 1) * GIGABYTE
    }

    /// The rounds of pruning, mildest first: what is easily made again and two days old, anything two months old,
    /// anything that no image shares, anything.
    pub fn policy(&self) -> Vec<PruneOptions> {
        let bounds = PruneOptions {
            reserved_space: self.reserved,
            max_used_space: self.max_used,
            min_free_space: self.min_free,
            ..PruneOptions::default()
        };
        let cheap = [
            "type==source.local",
            "type==exec.cachemount",
            "type==source.git.checkout",
        ];
        vec![
            PruneOptions {
                filters: cheap.map(str::to_owned).into(),
                keep_duration: 48 * HOUR,
                max_used_space: 512 * MEGABYTE,
                ..PruneOptions::default()
            },
            PruneOptions {
                keep_duration: 60 * DAY,
                ..bounds.clone()
            },
            bounds.clone(),
            PruneOptions {
                all: true,
                ..bounds
            },
        ]
    }
}

impl Store {
    /// The bounds that fit the file system of this store.
    pub fn default_limits(&self) -> Result<SpaceLimits, StoreError> {
        Ok(SpaceLimits::for_disk(disk::size(self.root())?))
    }
}
