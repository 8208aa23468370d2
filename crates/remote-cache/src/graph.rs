//! An imported cache in memory: records with their links in both directions, and results with their layers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use kiln_solver::Link;
use oci_spec::image::Descriptor;
use sha2::{Digest as _, Sha256};

use crate::CacheLayer;

/// All records of an import.
#[derive(Debug, Default)]
pub(crate) struct CacheGraph {
    /// By key id.
    pub(crate) records: HashMap<String, CachedRecord>,
    /// By result id.
    pub(crate) results: BTreeMap<String, CachedResult>,
}

/// One key.
#[derive(Debug, Default)]
pub(crate) struct CachedRecord {
    /// Where it leads.
    pub(crate) links: HashMap<Link, Vec<String>>,
    /// Where it comes from.
    pub(crate) backlinks: Vec<(String, Link)>,
    /// Ids of its results, newest first, with their times.
    pub(crate) results: Vec<(String, SystemTime)>,
}

/// A result, wherever it is found.
#[derive(Debug)]
pub(crate) struct CachedResult {
    pub(crate) stack: Arc<Stack>,
    /// The keys that have it.
    pub(crate) keys: Vec<String>,
}

/// A layer and those below it, which it shares with all other stacks on top of them.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) layer: CacheLayer,
    pub(crate) below: Option<Arc<Stack>>,
    /// How many layers it has.
    pub(crate) height: usize,
    /// Equal for equal layers: results of the same id are the same.
    pub(crate) id: String,
}

impl Stack {
    pub(crate) fn on(below: Option<Arc<Stack>>, layer: CacheLayer) -> Arc<Self> {
        let mut hash = Sha256::new();
        hash.update(below.as_ref().map_or("", |below| below.id.as_str()));
        hash.update(layer.descriptor.digest().as_ref());
        let id = format!("sha256:{}", hex::encode(hash.finalize()));
        let height = below.as_ref().map_or(0, |below| below.height) + 1;
        Arc::new(Self {
            layer,
            below,
            height,
            id,
        })
    }

    /// The stack and those it lies on, bottom first.
    pub(crate) fn levels(&self) -> Vec<&Stack> {
        let mut levels: Vec<_> =
            std::iter::successors(Some(self), |stack| stack.below.as_deref()).collect();
        levels.reverse();
        levels
    }
}

/// What the results of a cache consist of.
#[derive(Clone, Debug, Default)]
pub struct CachedLayers(pub(crate) Arc<CacheGraph>);

impl CachedLayers {
    /// The blobs of a result's layers, bottom first; none if there is no such result.
    pub fn of(&self, result: &str) -> Vec<Descriptor> {
        let result = self.0.results.get(result);
        let levels = result.map_or_else(Vec::new, |result| result.stack.levels());
        let blobs = levels.iter().map(|level| level.layer.descriptor.clone());
        blobs.collect()
    }
}

impl CacheGraph {
    pub(crate) fn add_link(&mut self, from: &str, link: &Link, to: &str) {
        let targets = self
            .records
            .entry(from.to_owned())
            .or_default()
            .links
            .entry(link.clone())
            .or_default();
        if !targets.iter().any(|target| target == to) {
            targets.push(to.to_owned());
            self.records
                .entry(to.to_owned())
                .or_default()
                .backlinks
                .push((from.to_owned(), link.clone()));
        }
    }

    pub(crate) fn add_result(&mut self, key: &str, stack: Arc<Stack>, created: SystemTime) {
        let record = self.records.entry(key.to_owned()).or_default();
        if record.results.iter().any(|(known, _)| *known == stack.id) {
            return;
        }
        record.results.push((stack.id.clone(), created));
        record
            .results
            .sort_by_key(|(_, created)| std::cmp::Reverse(*created));
        let id = stack.id.clone();
        let result = self.results.entry(id).or_insert_with(|| CachedResult {
            stack,
            keys: Vec::new(),
        });
        result.keys.push(key.to_owned());
    }
}
