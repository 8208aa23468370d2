//! Upkeep of the store that nobody has to ask for: making results durable, and
//! garbage collection.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kiln_solver::KeyStore;
use kiln_store::Store;
use kiln_store::gc::{PruneOptions, UsageRecord};

use crate::cache::DatabaseKeys;
use crate::error::{BuildError, Kind};
use crate::gc::GcSettings;
use crate::tree::store_error;

/// How long after one upkeep the next build begins another.
const PERIOD: Duration = Duration::from_secs(10 * 60);

/// Its modification time says when the last upkeep began.
const MARKER: &str = "collected";

/// Removes what nobody uses, as the options say, with the cache keys that led
/// to it. Blocks.
pub(crate) fn prune(
    store: &Store,
    keys: &DatabaseKeys,
    options: &PruneOptions,
) -> Result<Vec<UsageRecord>, BuildError> {
    let mut removed = Vec::new();
    let pruned = store.prune(options, &mut |record| {
        removed.push(record);
        true
    });
    for record in &removed {
        let released = keys.release(&record.id);
        released.map_err(|error| BuildError::new(Kind::Environment, error.to_string()))?;
    }
    pruned.map_err(store_error)?;
    Ok(removed)
}

/// Makes earlier results durable and keeps the store within its limits, beside the build that begins. What fails is tried again by a
/// later build. A build never waits for the disk itself: results that a power
/// failure takes are made again.
pub(crate) fn begin_if_due(store: &Store, keys: &Arc<DatabaseKeys>, gc: &Arc<GcSettings>) {
    if !is_due(&store.root().join(MARKER)) {
        return;
    }
    let (store, keys, gc) = (store.clone(), keys.clone(), gc.clone());
    tokio::task::spawn_blocking(move || {
        if let Err(error) = collect(&store, &keys, &gc) {
            tracing::warn!(%error, "upkeep of the store failed");
        }
    });
}

fn is_due(marker: &Path) -> bool {
    let modified = marker.metadata().and_then(|metadata| metadata.modified());
    let age = modified
        .ok()
        .and_then(|time| SystemTime::now().duration_since(time).ok());
    if age.is_some_and(|age| age < PERIOD) {
        return false;
    }
    // Of several processes, each that sees the old time collects: needless
    // but harmless.
    File::create(marker)
        .and_then(|file| file.set_modified(SystemTime::now()))
        .is_ok()
}

fn collect(store: &Store, keys: &DatabaseKeys, gc: &GcSettings) -> Result<(), BuildError> {
    store.sync().map_err(store_error)?;
    gc.policies(store)
        .map_err(store_error)?
        .iter()
        .try_for_each(|policy| prune(store, keys, policy).map(drop))
}
