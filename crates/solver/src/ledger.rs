//! Follows and extends keys in the caches of a vertex. Everything here may
//! block on a database, and runs away from the async threads, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};

use crate::cache::{Cache, CacheError, KeyStore, Link, StoredResult};
use crate::core::Query;
use crate::digest::is_random;
use crate::key::{Key, KeyUse, Lasting, Place, Record};

/// The caches of a vertex. A cache that fails is passed over with a warning.
pub(crate) struct Ledger<'a, T> {
    pub local: &'a Cache<T>,
    pub imported: &'a [Cache<T>],
}

impl<T: Clone + Send + Sync + 'static> Ledger<'_, T> {
    fn caches(&self) -> impl Iterator<Item = (Place, &Cache<T>)> {
        let imported = self.imported.iter().map(|cache| (Place::Imported, cache));
        std::iter::once((Place::Local, self.local)).chain(imported)
    }

    /// The keys of an op output that the keys of one input lead to.
    pub(crate) fn query(&self, query: &Query) -> Vec<Arc<Key>> {
        let mut found: BTreeMap<String, Key> = BTreeMap::new();
        for (_, cache) in self.caches() {
            match query_one(cache, query) {
                Ok(ids) => {
                    for id in ids {
                        let key = found
                            .entry(id.clone())
                            .or_insert_with(|| Key::new(query.digest.clone(), Vec::new(), None));
                        key.ids().insert(cache.id.as_str().into(), id);
                    }
                }
                Err(error) => warn(&cache.id, "look up cache keys", &error),
            }
        }
        found.into_values().map(Arc::new).collect()
    }

    /// The results that caches have for a key. Those that are gone are forgotten.
    pub(crate) fn records(&self, key: &Arc<Key>) -> Vec<Record> {
        let ids = key.ids().clone();
        let mut records = Vec::new();
        for (place, cache) in self.caches() {
            let Some(id) = ids.get(cache.id.as_str()) else {
                continue;
            };
            match live_results(cache, id) {
                Ok(results) => records.extend(results.into_iter().map(|result| Record {
                    cache: cache.id.as_str().into(),
                    id: result.id,
                    created: result.created,
                    place,
                    key: key.clone(),
                })),
                Err(error) => warn(&cache.id, "list cached results", &error),
            }
        }
        records
    }
}

/// Hangs a saved result on a key, and the key on those it follows from.
pub(crate) fn commit<T>(
    cache: &Cache<T>,
    key: &Arc<Key>,
    id: &str,
    created: SystemTime,
) -> Option<Record> {
    if key.lasting == Lasting::ThisSession {
        return None;
    }
    let result = StoredResult {
        id: id.to_owned(),
        created,
    };
    let written = cache.keys.together(&mut || {
        cache.keys.add_result(&id_in(cache, key)?, &result)?;
        connect(cache, key)
    });
    if let Err(error) = written {
        warn(&cache.id, "save cache keys", &error);
        return None;
    }
    Some(Record {
        cache: cache.id.as_str().into(),
        id: result.id,
        created,
        place: Place::Local,
        key: key.clone(),
    })
}

/// Drops the keys of results that the result store has lost, as after pruning
/// it. A build that meets such keys drops them itself; this takes care of those
/// that no build meets any more. Blocks.
pub fn forget_lost_results<T: Clone + Send + Sync + 'static>(cache: &Cache<T>) {
    let released = cache.keys.result_ids().and_then(|ids| {
        ids.iter()
            .filter(|id| !cache.results.exists(id))
            .try_for_each(|id| cache.keys.release(id))
    });
    if let Err(error) = released {
        warn(&cache.id, "forget lost results", &error);
    }
}

fn warn(cache: &str, doing: &str, error: &CacheError) {
    tracing::warn!(cache, %error, "cannot {doing}; going on without");
}

fn query_one<T>(cache: &Cache<T>, query: &Query) -> Result<BTreeSet<String>, CacheError> {
    if query.keys.is_empty() {
        if is_random(&query.digest) {
            return Ok(BTreeSet::new());
        }
        let root = query.digest.to_string();
        let known = cache.keys.exists(&root)?;
        return Ok(known.then_some(root).into_iter().collect());
    }
    let follow = |used: &KeyUse| -> Result<(String, Link, BTreeSet<String>), CacheError> {
        let from = id_in(cache, &used.key.key)?;
        let link = link(query.input, &query.digest, used.selector.as_ref());
        let to = cache.keys.links(&from, &link)?;
        Ok((from, link, to.into_iter().collect()))
    };
    let mut ways = query
        .keys
        .iter()
        .filter(|used| lasts(used))
        .map(follow)
        .collect::<Result<Vec<_>, _>>()?;
    let found: BTreeSet<String> = ways.iter().flat_map(|(_, _, to)| to).cloned().collect();
    ways.extend(
        query
            .equal
            .iter()
            .filter(|used| lasts(used))
            .map(follow)
            .collect::<Result<Vec<_>, _>>()?,
    );
    // Keys of one input mean the same, so what one leads to, all lead to.
    let all: BTreeSet<String> = ways.iter().flat_map(|(_, _, to)| to).cloned().collect();
    if ways.iter().any(|(_, _, to)| to.len() < all.len()) {
        cache.keys.together(&mut || {
            for (from, link, to) in &ways {
                for id in all.difference(to) {
                    cache.keys.add_link(from, link, id)?;
                }
            }
            Ok(())
        })?;
    }
    Ok(found)
}

fn lasts(used: &KeyUse) -> bool {
    used.key.key.lasting == Lasting::Always
}

fn link(input: usize, digest: &Digest, selector: Option<&Digest>) -> Link {
    Link {
        input,
        digest: digest.clone(),
        selector: selector.cloned(),
    }
}

fn live_results<T: Clone + Send + Sync + 'static>(
    cache: &Cache<T>,
    key: &str,
) -> Result<Vec<StoredResult>, CacheError> {
    let mut live = Vec::new();
    for result in cache.keys.results(key)? {
        if cache.results.exists(&result.id) {
            live.push(result);
        } else {
            cache.keys.release(&result.id)?;
        }
    }
    Ok(live)
}

/// Name of a key in a cache: the one that its inputs lead to if there is one.
pub(crate) fn id_in<T>(cache: &Cache<T>, key: &Arc<Key>) -> Result<String, CacheError> {
    // Names of inputs come first; chains of keys may be long.
    let mut open = vec![(key.clone(), false)];
    while let Some((key, inputs_named)) = open.pop() {
        if key.ids().contains_key(cache.id.as_str()) {
            continue;
        }
        let used = key.inputs.iter().flatten();
        if !inputs_named && !key.inputs.is_empty() {
            let inputs: Vec<_> = used.map(|used| (used.key.key.clone(), false)).collect();
            open.push((key.clone(), true));
            open.extend(inputs);
            continue;
        }
        let name = name(&*cache.keys, &cache.id, &key)?;
        key.ids().insert(cache.id.as_str().into(), name);
    }
    Ok(known_id(&cache.id, key))
}

fn known_id(cache: &str, key: &Key) -> String {
    key.ids()
        .get(cache)
        .cloned()
        .unwrap_or_else(|| key.digest.to_string())
}

fn name(keys: &dyn KeyStore, cache: &str, key: &Key) -> Result<String, CacheError> {
    if key.inputs.is_empty() {
        return Ok(key.digest.to_string());
    }
    let mut agreed: Option<BTreeSet<String>> = None;
    for (input, uses) in key.inputs.iter().enumerate() {
        let mut found = BTreeSet::new();
        for used in uses.iter().filter(|used| lasts(used)) {
            let link = link(input, &key.digest, used.selector.as_ref());
            found.extend(keys.links(&known_id(cache, &used.key.key), &link)?);
        }
        if let Some(before) = agreed {
            found.retain(|id| before.contains(id));
        }
        let none = found.is_empty();
        agreed = Some(found);
        if none {
            break;
        }
    }
    let existing = agreed.and_then(|ids| ids.into_iter().next());
    Ok(existing.unwrap_or_else(|| new_name(cache, key)))
}

/// A name made from the inputs' names, so that processes which save the same
/// key at the same time agree on it. It must not look like a digest.
fn new_name(cache: &str, key: &Key) -> String {
    let mut hash = Sha256::new();
    hash.update(key.digest.as_ref());
    for (input, uses) in key.inputs.iter().enumerate() {
        for used in uses.iter().filter(|used| lasts(used)) {
            let selector = used
                .selector
                .as_ref()
                .map_or("", |selector| selector.as_ref());
            hash.update(format!(
                "\n{input} {selector} {}",
                known_id(cache, &used.key.key)
            ));
        }
    }
    hex::encode(hash.finalize())
}

/// Writes the links that lead to a key, upwards as far as they are missing.
fn connect<T>(cache: &Cache<T>, key: &Arc<Key>) -> Result<(), CacheError> {
    let mut open = vec![key.clone()];
    while let Some(key) = open.pop() {
        let to = id_in(cache, &key)?;
        for (input, uses) in key.inputs.iter().enumerate() {
            for used in uses.iter().filter(|used| lasts(used)) {
                let from = id_in(cache, &used.key.key)?;
                let link = link(input, &key.digest, used.selector.as_ref());
                if !cache.keys.has_link(&from, &link, &to)? {
                    cache.keys.add_link(&from, &link, &to)?;
                    open.push(used.key.key.clone());
                }
            }
        }
    }
    Ok(())
}
