//! Keeps what an imported cache gave in the local one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use crate::cache::Cache;
use crate::key::{Key, Record};
use crate::ledger;

/// Results that are saved, and the keys they will be found by.
pub(crate) type Saved = Vec<(Arc<Key>, String, SystemTime)>;

/// Saves a loaded result, and those of the keys below that came with it.
/// Failures only mean that the import will be needed again.
pub(crate) async fn save<T: Clone + Send + Sync + 'static>(
    local: &Cache<T>,
    imported: &Cache<T>,
    record: &Record,
    output: &T,
) -> Saved {
    let mut outputs = vec![(record.key.clone(), output.clone(), record.created)];
    match imported.results.load_ancestors(&record.id).await {
        Ok(ancestors) => {
            let mut ancestors: HashMap<String, T> = ancestors.into_iter().collect();
            for key in below(&record.key) {
                let id = key.ids().get(imported.id.as_str()).cloned();
                let Some((id, output)) = id.and_then(|id| ancestors.remove_entry(&id)) else {
                    continue;
                };
                let known = imported.keys.results(&id).unwrap_or_default();
                let created = known
                    .first()
                    .map_or(record.created, |result| result.created);
                outputs.push((key, output, created));
            }
        }
        Err(error) => warn(local, &error),
    }
    let mut saved = Vec::new();
    for (key, output, created) in outputs {
        match local.results.save(&output, created).await {
            Ok(id) => saved.push((key, id, created)),
            Err(error) => warn(local, &error),
        }
    }
    saved
}

/// Hangs saved results on their keys.
pub(crate) fn commit<T>(local: &Cache<T>, saved: Saved) {
    for (key, id, created) in saved {
        ledger::commit(local, &key, &id, created);
    }
}

/// All keys that a key follows from, without itself.
fn below(key: &Arc<Key>) -> Vec<Arc<Key>> {
    let mut seen: HashSet<*const Key> = HashSet::from([Arc::as_ptr(key)]);
    let mut open = vec![key.clone()];
    let mut keys = Vec::new();
    while let Some(key) = open.pop() {
        for used in key.inputs.iter().flatten() {
            if seen.insert(Arc::as_ptr(&used.key.key)) {
                keys.push(used.key.key.clone());
                open.push(used.key.key.clone());
            }
        }
    }
    keys
}

fn warn<T>(local: &Cache<T>, error: &crate::cache::CacheError) {
    tracing::warn!(cache = local.id, %error, "cannot keep an imported result; going on without");
}
