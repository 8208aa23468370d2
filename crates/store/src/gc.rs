//! Disk usage and what frees it.

use std::time::{Duration, SystemTime};

use crate::refs::RecordType;

/// One record of disk usage: one ref or cache directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRecord {
    /// The ref's id.
    pub id: String,
    /// Whether it is still being written, as cache directories always are.
    pub mutable: bool,
    /// Whether a process uses it, directly or through a ref built on it.
    pub in_use: bool,
    /// Bytes on disk that vanish with it: its own layer's files and blobs.
    pub size: u64,
    /// The ids of the refs it is built on.
    pub parents: Vec<String>,
    /// When it was made.
    pub created: SystemTime,
    /// When it was last used, if ever after it was made.
    pub last_used: Option<SystemTime>,
    /// How often it was used.
    pub usage_count: u64,
    /// Its description.
    pub description: String,
    /// What it is for.
    pub record_type: RecordType,
    /// Whether a named image in the store shares its layers.
    pub shared: bool,
}

/// Which records to list.
#[derive(Debug, Clone, Default)]
pub struct UsageOptions {
    /// Filters in containerd's syntax, of which one must match: `type==source.local,inuse`.
    pub filters: Vec<String>,
    /// Only records not used for this long.
    pub age: Option<Duration>,
}

/// What to remove. Sizes of zero mean no limit. The meaning of all fields is upstream's.
#[derive(Debug, Clone, Default)]
pub struct PruneOptions {
    /// Filters in containerd's syntax, of which one must match.
    pub filters: Vec<String>,
    /// Also internal records, frontends, and what named images share.
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
