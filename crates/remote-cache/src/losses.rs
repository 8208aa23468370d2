//! Blobs of an imported cache that turned out not to be had.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use oci_spec::image::Digest;

/// A cache that has lost so many blobs is not asked for others.
const MOST: usize = 4;

/// What was lost, and why. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Losses(Arc<Mutex<BTreeMap<String, String>>>);

impl Losses {
    pub(crate) fn add(&self, blob: &Digest, reason: &(dyn std::error::Error + Send + Sync)) {
        let mut lost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lost.insert(blob.to_string(), reason.to_string());
    }

    /// Whether a blob need not be asked for.
    pub(crate) fn has(&self, blob: &Digest) -> bool {
        let lost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lost.len() >= MOST || lost.contains_key(blob.as_ref())
    }

    /// How many blobs were lost so far.
    pub fn count(&self) -> usize {
        let lost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lost.len()
    }

    /// A line for each blob: which, and why.
    pub fn reasons(&self) -> Vec<String> {
        let lost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lost.iter()
            .map(|(blob, reason)| format!("{blob}: {reason}"))
            .collect()
    }
}
