//! Storage of cache keys and results, as the solver sees it.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use oci_spec::image::Digest;

/// A cache storage failure. The solver treats it as a miss and warns.
pub type CacheError = Box<dyn std::error::Error + Send + Sync>;

/// How a key follows from another one: "as input number `input`, looked at
/// through `selector`, of an op output whose own digest is `digest`".
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// Which input of the op the source key is.
    pub input: usize,
    /// The op's cache map digest combined with the output index, see
    /// [`root_key`](crate::root_key). Cache manifests call it the record's digest.
    pub digest: Digest,
    /// Selector of the input.
    pub selector: Option<Digest>,
}

/// A result that a key leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResult {
    /// Its name in the [`ResultStore`] beside the key store.
    pub id: String,
    /// When the result was made. Nanoseconds count: of several results the newest wins.
    pub created: SystemTime,
}

/// Graph of cache keys: nodes are key ids, links lead from the keys of inputs
/// to the keys of outputs, and results hang on nodes. A store of an imported
/// cache may ignore all writes.
///
/// Methods may block for the time of a local database query, no longer.
pub trait KeyStore: Send + Sync + 'static {
    /// Whether the key has a result or leads anywhere.
    fn exists(&self, key: &str) -> Result<bool, CacheError>;
    /// Ids of all results on any key, each once.
    fn result_ids(&self) -> Result<Vec<String>, CacheError>;
    /// The results of a key; empty if the key is unknown.
    fn results(&self, key: &str) -> Result<Vec<StoredResult>, CacheError>;
    /// Hangs a result on a key, creating the key; a result of equal id is replaced.
    fn add_result(&self, key: &str, result: &StoredResult) -> Result<(), CacheError>;
    /// Takes a result off all its keys. Keys which then neither have results
    /// nor lead anywhere are removed, and so are the links to them, upwards.
    fn release(&self, result: &str) -> Result<(), CacheError>;
    /// The keys which have this result.
    fn keys_of_result(&self, result: &str) -> Result<Vec<String>, CacheError>;
    /// Links two keys, creating them as needed.
    fn add_link(&self, from: &str, link: &Link, to: &str) -> Result<(), CacheError>;
    /// Where this link leads to from this key.
    fn links(&self, from: &str, link: &Link) -> Result<Vec<String>, CacheError>;
    /// Whether this link leads from one key to the other.
    fn has_link(&self, from: &str, link: &Link, to: &str) -> Result<bool, CacheError>;
    /// All links that lead to this key, with the keys they come from.
    fn backlinks(&self, to: &str) -> Result<Vec<(String, Link)>, CacheError>;

    /// Does work that calls other methods several times. A database may make
    /// one transaction of it; calls of other threads may come in between.
    fn together(&self, work: &mut dyn FnMut() -> Result<(), CacheError>) -> Result<(), CacheError> {
        work()
    }
}

/// Keeps op outputs under ids.
#[async_trait]
pub trait ResultStore: Send + Sync + 'static {
    /// What is kept.
    type Output: Clone + Send + Sync + 'static;

    /// Keeps an output and answers its id; equal outputs should get equal ids.
    /// An imported cache answers with an error.
    async fn save(&self, output: &Self::Output, created: SystemTime) -> Result<String, CacheError>;

    /// Brings an output back. Any error is a miss: the op runs instead.
    async fn load(&self, id: &str) -> Result<Self::Output, CacheError>;

    /// Whether loading is likely to work. Must be fast: no network.
    fn exists(&self, id: &str) -> bool;

    /// Outputs of keys below that came along with a loaded result at no cost,
    /// by key id, such as the lower layers of an image. The solver keeps them
    /// in the local cache when it loads from an imported one.
    async fn load_ancestors(&self, id: &str) -> Result<Vec<(String, Self::Output)>, CacheError> {
        let _ = id;
        Ok(Vec::new())
    }
}

/// A place to find results: the local cache and imported ones alike.
pub struct Cache<T> {
    /// Tells caches apart; an import given to several jobs has one id.
    pub id: String,
    /// How keys lead to results.
    pub keys: Arc<dyn KeyStore>,
    /// The results.
    pub results: Arc<dyn ResultStore<Output = T>>,
}

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Self {
            id: self.id.clone(),
            keys: self.keys.clone(),
            results: self.results.clone(),
        }
    }
}

impl<T> fmt::Debug for Cache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
