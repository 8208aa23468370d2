//! Blobs of an imported cache that turned out not to be had.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci_spec::image::Digest;

/// A cache that has lost so many blobs is not asked for others.
const MOST: usize = 4;

/// What was lost, and why. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Losses(Arc<Mutex<Lost>>);

#[derive(Debug, Default)]
struct Lost {
    blobs: BTreeSet<String>,
    /// Not told yet.
    news: Vec<String>,
}

impl Losses {
    fn lost(&self) -> MutexGuard<'_, Lost> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, blob: &Digest, reason: &(dyn std::error::Error + Send + Sync)) {
        let mut lost = self.lost();
        if lost.blobs.insert(blob.to_string()) {
            lost.news.push(format!("{blob}: {reason}"));
        }
    }

    /// Whether a blob need not be asked for.
    pub(crate) fn has(&self, blob: &Digest) -> bool {
        let lost = self.lost();
        lost.blobs.len() >= MOST || lost.blobs.contains(blob.as_ref())
    }

    /// How many blobs were lost so far.
    pub fn count(&self) -> usize {
        self.lost().blobs.len()
    }

    /// A line for each blob that was lost since the last call: which, and why.
    pub fn news(&self) -> Vec<String> {
        std::mem::take(&mut self.lost().news)
    }
}
