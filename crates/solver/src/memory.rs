//! Key and result stores that live in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;

use crate::cache::{CacheError, KeyStore, Link, ResultStore, StoredResult};

/// A [`KeyStore`] in memory.
#[derive(Debug, Default)]
pub struct MemoryKeys(Mutex<Keys>);

#[derive(Debug, Default)]
struct Keys {
    by_id: HashMap<String, Node>,
    by_result: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct Node {
    results: BTreeMap<String, StoredResult>,
    links: HashMap<Link, BTreeSet<String>>,
    /// Keys with links to this one.
    from: BTreeSet<String>,
}

impl MemoryKeys {
    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    /// Removes keys that lead nowhere, upwards from these.
    fn prune(&mut self, ids: BTreeSet<String>) {
        let mut open: Vec<String> = ids.into_iter().collect();
        while let Some(id) = open.pop() {
            let Some(node) = self.by_id.get(&id) else {
                continue;
            };
            if !node.results.is_empty() || !node.links.is_empty() {
                continue;
            }
            let Some(node) = self.by_id.remove(&id) else {
                continue;
            };
            for from in node.from {
                if let Some(user) = self.by_id.get_mut(&from) {
                    user.links.retain(|_, to| {
                        to.remove(&id);
                        !to.is_empty()
                    });
                    open.push(from);
                }
            }
        }
    }
}

impl KeyStore for MemoryKeys {
    fn exists(&self, key: &str) -> Result<bool, CacheError> {
        let keys = self.lock();
        Ok(keys
            .by_id
            .get(key)
            .is_some_and(|n| !n.results.is_empty() || !n.links.is_empty()))
    }

    fn result_ids(&self) -> Result<Vec<String>, CacheError> {
        Ok(self.lock().by_result.keys().cloned().collect())
    }

    fn results(&self, key: &str) -> Result<Vec<StoredResult>, CacheError> {
        let keys = self.lock();
        Ok(keys
            .by_id
            .get(key)
            .map(|n| n.results.values().cloned().collect())
            .unwrap_or_default())
    }

    fn add_result(&self, key: &str, result: &StoredResult) -> Result<(), CacheError> {
        let mut keys = self.lock();
        let node = keys.by_id.entry(key.to_owned()).or_default();
        node.results.insert(result.id.clone(), result.clone());
        keys.by_result
            .entry(result.id.clone())
            .or_default()
            .insert(key.to_owned());
        Ok(())
    }

    fn release(&self, result: &str) -> Result<(), CacheError> {
        let mut keys = self.lock();
        let ids = keys.by_result.remove(result).unwrap_or_default();
        for id in &ids {
            if let Some(node) = keys.by_id.get_mut(id) {
                node.results.remove(result);
            }
        }
        keys.prune(ids);
        Ok(())
    }

    fn keys_of_result(&self, result: &str) -> Result<Vec<String>, CacheError> {
        let keys = self.lock();
        Ok(keys
            .by_result
            .get(result)
            .into_iter()
            .flatten()
            .cloned()
            .collect())
    }

    fn add_link(&self, from: &str, link: &Link, to: &str) -> Result<(), CacheError> {
        let mut keys = self.lock();
        let node = keys.by_id.entry(from.to_owned()).or_default();
        node.links
            .entry(link.clone())
            .or_default()
            .insert(to.to_owned());
        let node = keys.by_id.entry(to.to_owned()).or_default();
        node.from.insert(from.to_owned());
        Ok(())
    }

    fn links(&self, from: &str, link: &Link) -> Result<Vec<String>, CacheError> {
        let keys = self.lock();
        let to = keys.by_id.get(from).and_then(|node| node.links.get(link));
        Ok(to.into_iter().flatten().cloned().collect())
    }

    fn has_link(&self, from: &str, link: &Link, to: &str) -> Result<bool, CacheError> {
        let keys = self.lock();
        let found = keys.by_id.get(from).and_then(|node| node.links.get(link));
        Ok(found.is_some_and(|ids| ids.contains(to)))
    }

    fn backlinks(&self, to: &str) -> Result<Vec<(String, Link)>, CacheError> {
        let keys = self.lock();
        let mut found = Vec::new();
        for from in keys.by_id.get(to).into_iter().flat_map(|node| &node.from) {
            for (link, ids) in keys
                .by_id
                .get(from)
                .into_iter()
                .flat_map(|node| &node.links)
            {
                if ids.contains(to) {
                    found.push((from.clone(), link.clone()));
                }
            }
        }
        Ok(found)
    }
}

/// A [`ResultStore`] in memory, which gives each saved output an id of its own.
#[derive(Debug)]
pub struct MemoryResults<T>(Mutex<Vec<T>>);

impl<T> Default for MemoryResults<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

#[async_trait]
impl<T: Clone + Send + Sync + 'static> ResultStore for MemoryResults<T> {
    type Output = T;

    async fn save(&self, output: &T, _: SystemTime) -> Result<String, CacheError> {
        let mut outputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outputs.push(output.clone());
        Ok((outputs.len() - 1).to_string())
    }

    async fn load(&self, id: &str) -> Result<T, CacheError> {
        let outputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let output = id.parse().ok().and_then(|index: usize| outputs.get(index));
        output
            .cloned()
            .ok_or_else(|| format!("result {id} is not in memory").into())
    }

    fn exists(&self, id: &str) -> bool {
        let outputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        id.parse().is_ok_and(|index: usize| index < outputs.len())
    }
}
