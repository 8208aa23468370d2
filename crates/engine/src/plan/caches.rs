//! The caches of a build, of which nothing is written and nothing is fetched.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use kiln_solver::{Cache, CacheError, KeyStore, Link, ResultStore, StoredResult};
use kiln_store::Store;

use super::op::{Cached, Planned};
use crate::cache::SCRATCH;
use crate::ops::Output;

/// The local cache.
pub(super) fn local(cache: &Cache<Output>, store: &Store) -> Cache<Planned> {
    let results = LocalResults {
        id: cache.id.as_str().into(),
        store: store.clone(),
    };
    unwritten(cache, results)
}

/// An imported cache.
pub(super) fn imported(cache: &Cache<Output>) -> Cache<Planned> {
    let results = ImportedResults {
        id: cache.id.as_str().into(),
        results: cache.results.clone(),
    };
    unwritten(cache, results)
}

fn unwritten(cache: &Cache<Output>, results: impl ResultStore<Output = Planned>) -> Cache<Planned> {
    Cache {
        id: cache.id.clone(),
        keys: Arc::new(UnwrittenKeys(cache.keys.clone())),
        results: Arc::new(results),
    }
}

/// Keys that stay as they are.
struct UnwrittenKeys(Arc<dyn KeyStore>);

impl KeyStore for UnwrittenKeys {
    fn exists(&self, key: &str) -> Result<bool, CacheError> {
        self.0.exists(key)
    }

    fn result_ids(&self) -> Result<Vec<String>, CacheError> {
        self.0.result_ids()
    }

    fn results(&self, key: &str) -> Result<Vec<StoredResult>, CacheError> {
        self.0.results(key)
    }

    fn add_result(&self, _key: &str, _result: &StoredResult) -> Result<(), CacheError> {
        Ok(())
    }

    fn release(&self, _result: &str) -> Result<(), CacheError> {
        Ok(())
    }

    fn keys_of_result(&self, result: &str) -> Result<Vec<String>, CacheError> {
        self.0.keys_of_result(result)
    }

    fn add_link(&self, _from: &str, _link: &Link, _to: &str) -> Result<(), CacheError> {
        Ok(())
    }

    fn links(&self, from: &str, link: &Link) -> Result<Vec<String>, CacheError> {
        self.0.links(from, link)
    }

    fn has_link(&self, from: &str, link: &Link, to: &str) -> Result<bool, CacheError> {
        self.0.has_link(from, link, to)
    }

    fn backlinks(&self, to: &str) -> Result<Vec<(String, Link)>, CacheError> {
        self.0.backlinks(to)
    }
}

/// Results in the store, looked at without counting as used.
struct LocalResults {
    id: Arc<str>,
    store: Store,
}

#[async_trait]
impl ResultStore for LocalResults {
    type Output = Planned;

    async fn save(&self, _output: &Planned, _created: SystemTime) -> Result<String, CacheError> {
        Ok(String::new())
    }

    async fn load(&self, id: &str) -> Result<Planned, CacheError> {
        if id == SCRATCH {
            return Ok(Planned::Here(None));
        }
        let (store, wanted) = (self.store.clone(), id.to_owned());
        let look = move || {
            let tree = store.look_at(&wanted)?;
            match tree {
                Some(tree) if tree.unfetchable()?.is_empty() => Ok(tree),
                _ => Err(CacheError::from(format!("ref {wanted} is no use"))),
            }
        };
        Ok(Planned::Cached(Cached {
            cache: self.id.clone(),
            id: id.to_owned(),
            tree: Some(tokio::task::spawn_blocking(look).await??),
        }))
    }

    fn exists(&self, id: &str) -> bool {
        id == SCRATCH || self.store.contains(id).unwrap_or(false)
    }
}

/// Results of an import, whose layers stay where they are.
struct ImportedResults {
    id: Arc<str>,
    results: Arc<dyn ResultStore<Output = Output>>,
}

#[async_trait]
impl ResultStore for ImportedResults {
    type Output = Planned;

    async fn save(&self, _output: &Planned, _created: SystemTime) -> Result<String, CacheError> {
        Err("an imported cache cannot be written".into())
    }

    async fn load(&self, id: &str) -> Result<Planned, CacheError> {
        match self.results.exists(id) {
            true => Ok(Planned::Cached(Cached {
                cache: self.id.clone(),
                id: id.to_owned(),
                tree: None,
            })),
            false => Err(format!("no cached result {id}").into()),
        }
    }

    fn exists(&self, id: &str) -> bool {
        self.results.exists(id)
    }
}
