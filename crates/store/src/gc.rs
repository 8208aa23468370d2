//! Disk usage and what frees it.

mod policy;
mod prune;
pub(crate) mod sweep;
mod usage;

use std::time::SystemTime;

use crate::refs::RecordType;

pub use policy::SpaceLimits;
pub use prune::PruneOptions;
pub use usage::UsageOptions;

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

impl UsageRecord {
    /// The value of a field of filters, if it counts as present.
    fn field(&self, name: &str) -> Option<String> {
        let flag = |is_set: bool| is_set.then(String::new);
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        match name {
            "id" => text(&self.id),
            "parent" | "parents" => text(&self.parents.join(";")),
            "description" => text(&self.description),
            "type" => text(self.record_type.as_str()),
            "inuse" => flag(self.in_use),
            "mutable" => flag(self.mutable),
            "immutable" => flag(!self.mutable),
            "shared" => flag(self.shared),
            "private" => flag(!self.shared),
            _ => None,
        }
    }
}
