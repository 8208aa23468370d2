//! Cache keys as they are built up during a solve, and what each of them
//! contributes to an export.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use oci_spec::image::Digest;

use crate::digest::{CONTENT, is_random, root_key};

/// A vertex output by digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub vertex: Digest,
    pub output: usize,
}

/// One cache key: a digest of the op and, per input, the keys it may come by.
/// A key has an id of its own in every cache; ids are filled in when asked for.
#[derive(Debug)]
pub(crate) struct Key {
    /// See [`root_key`].
    pub digest: Digest,
    pub inputs: Vec<Vec<KeyUse>>,
    /// Absent for keys of content.
    pub origin: Option<Origin>,
    pub lasting: Lasting,
    ids: Mutex<BTreeMap<Arc<str>, String>>,
}

impl Key {
    pub(crate) fn new(digest: Digest, inputs: Vec<Vec<KeyUse>>, origin: Option<Origin>) -> Self {
        Self {
            lasting: lasting(&digest, &inputs),
            digest,
            inputs,
            origin,
            ids: Mutex::default(),
        }
    }

    /// The same node in all caches, reached from these inputs.
    pub(crate) fn with_inputs(&self, inputs: Vec<Vec<KeyUse>>) -> Self {
        Self {
            digest: self.digest.clone(),
            lasting: lasting(&self.digest, &inputs),
            inputs,
            origin: self.origin.clone(),
            ids: Mutex::new(self.ids().clone()),
        }
    }

    /// Ids by cache, as far as they are known.
    pub(crate) fn ids(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, String>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a key can be met again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasting {
    Always,
    /// It follows from something made up for one session, such as the files
    /// that a client sends, and nothing else leads to it. Not worth storing.
    ThisSession,
}

fn lasting(digest: &Digest, inputs: &[Vec<KeyUse>]) -> Lasting {
    let passing = |used: &KeyUse| used.key.key.lasting == Lasting::ThisSession;
    let unreachable = |uses: &Vec<KeyUse>| !uses.is_empty() && uses.iter().all(passing);
    if is_random(digest) || inputs.iter().any(unreachable) {
        Lasting::ThisSession
    } else {
        Lasting::Always
    }
}

impl Drop for Key {
    /// Key chains are as deep as graphs; freeing them must not recurse.
    fn drop(&mut self) {
        let mut open = std::mem::take(&mut self.inputs);
        while let Some(uses) = open.pop() {
            for used in uses {
                drop(used.key.source);
                if let Some(mut key) = Arc::into_inner(used.key.key) {
                    open.append(&mut key.inputs);
                }
            }
        }
    }
}

/// A key as input of another one.
#[derive(Clone, Debug)]
pub(crate) struct KeyUse {
    pub selector: Option<Digest>,
    pub key: TracedKey,
}

/// A key with what is known about results under it.
#[derive(Clone, Debug)]
pub(crate) struct TracedKey {
    pub key: Arc<Key>,
    pub source: Arc<Source>,
}

impl TracedKey {
    /// The key of content, which carries no result.
    pub(crate) fn content(digest: &Digest) -> Self {
        let key = Key::new(root_key(digest, CONTENT), Vec::new(), None);
        Self {
            key: Arc::new(key),
            source: Arc::new(Source::Content),
        }
    }

    pub(crate) fn used(&self, selector: Option<&Digest>) -> KeyUse {
        KeyUse {
            selector: selector.cloned(),
            key: self.clone(),
        }
    }
}

/// What stands behind a key when it is exported.
#[derive(Debug)]
pub(crate) enum Source {
    /// Nothing but the key.
    Content,
    /// Found in caches, but no result was taken from it.
    Found { records: Vec<Record>, export: bool },
    /// The result of this build, executed or loaded. Without record if it
    /// could not be saved.
    Made {
        record: Option<Record>,
        extra: ExtraInputs,
    },
    /// A result with several keys of equal standing.
    Several(Vec<TracedKey>),
}

/// Keys of inputs that became known as equal when another edge was merged in.
/// Shared between the edge and its key: merges may follow.
pub(crate) type ExtraInputs = Arc<Mutex<Vec<(usize, KeyUse)>>>;

/// A result that a cache offers.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub cache: Arc<str>,
    pub id: String,
    pub created: SystemTime,
    pub place: Place,
    pub key: Arc<Key>,
}

/// Of results made at the same time, imported ones come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Imported,
    Local,
}

impl Record {
    /// Sorts the preferred record first: the newest, then by place.
    pub(crate) fn rank(&self) -> (std::cmp::Reverse<SystemTime>, Place) {
        (std::cmp::Reverse(self.created), self.place)
    }
}
