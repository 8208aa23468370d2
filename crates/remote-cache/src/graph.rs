//! An imported cache in memory: records with their links in both directions, and results with their layers.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use kiln_solver::Link;
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
    /// Its layers, bottom first. Never empty.
    pub(crate) layers: Vec<CacheLayer>,
    /// The keys that have it.
    pub(crate) keys: Vec<String>,
}

/// The id of a result: equal layers are equal results.
pub(crate) fn result_id(layers: &[CacheLayer]) -> String {
    let mut hash = Sha256::new();
    for layer in layers {
        hash.update(layer.descriptor.digest().as_ref());
    }
    format!("sha256:{}", hex::encode(hash.finalize()))
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

    pub(crate) fn add_result(&mut self, key: &str, layers: Vec<CacheLayer>, created: SystemTime) {
        let id = result_id(&layers);
        let record = self.records.entry(key.to_owned()).or_default();
        if record.results.iter().any(|(known, _)| *known == id) {
            return;
        }
        record.results.push((id.clone(), created));
        record
            .results
            .sort_by_key(|(_, created)| std::cmp::Reverse(*created));
        let result = self.results.entry(id).or_insert_with(|| CachedResult {
            layers,
            keys: Vec::new(),
        });
        result.keys.push(key.to_owned());
    }
}
