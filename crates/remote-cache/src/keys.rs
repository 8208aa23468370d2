//! The keys of an imported cache, as the solver asks for them. Nothing can be written.

use std::sync::Arc;

use kiln_solver::{CacheError, KeyStore, Link, StoredResult};

use crate::graph::{CacheGraph, CachedRecord};

pub(crate) struct ImportedKeys(pub(crate) Arc<CacheGraph>);

impl ImportedKeys {
    fn record(&self, key: &str) -> Option<&CachedRecord> {
        self.0.records.get(key)
    }
}

impl KeyStore for ImportedKeys {
    fn exists(&self, key: &str) -> Result<bool, CacheError> {
        Ok(self.record(key).is_some())
    }

    fn result_ids(&self) -> Result<Vec<String>, CacheError> {
        Ok(self.0.results.keys().cloned().collect())
    }

    fn results(&self, key: &str) -> Result<Vec<StoredResult>, CacheError> {
        let results = self
            .record(key)
            .map(|record| record.results.as_slice())
            .unwrap_or_default();
        Ok(results
            .iter()
            .map(|(id, created)| StoredResult {
                id: id.clone(),
                created: *created,
            })
            .collect())
    }

    fn add_result(&self, _key: &str, _result: &StoredResult) -> Result<(), CacheError> {
        Ok(())
    }

    fn release(&self, _result: &str) -> Result<(), CacheError> {
        Ok(())
    }

    fn keys_of_result(&self, result: &str) -> Result<Vec<String>, CacheError> {
        Ok(self
            .0
            .results
            .get(result)
            .map(|result| result.keys.clone())
            .unwrap_or_default())
    }

    fn add_link(&self, _from: &str, _link: &Link, _to: &str) -> Result<(), CacheError> {
        Ok(())
    }

    fn links(&self, from: &str, link: &Link) -> Result<Vec<String>, CacheError> {
        Ok(self
            .record(from)
            .and_then(|record| record.links.get(link))
            .cloned()
            .unwrap_or_default())
    }

    fn has_link(&self, from: &str, link: &Link, to: &str) -> Result<bool, CacheError> {
        let targets = self.record(from).and_then(|record| record.links.get(link));
        Ok(targets.is_some_and(|targets| targets.iter().any(|target| target == to)))
    }

    fn backlinks(&self, to: &str) -> Result<Vec<(String, Link)>, CacheError> {
        Ok(self
            .record(to)
            .map(|record| record.backlinks.clone())
            .unwrap_or_default())
    }
}
