//! What an op learns about the circumstances of its call.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use oci_spec::image::Digest;
use tokio_util::sync::CancellationToken;

use crate::observe::JobId;

/// The jobs which want a vertex at this moment. Clones see the same set, and
/// the set changes while the op runs: any of them may lend a session.
#[derive(Clone, Debug, Default)]
pub struct LiveJobs(Arc<Mutex<BTreeSet<JobId>>>);

impl LiveJobs {
    /// The jobs, in the order of their ids.
    pub fn list(&self) -> Vec<JobId> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    pub(crate) fn insert(&self, job: JobId) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(job)
    }

    pub(crate) fn remove(&self, job: &JobId) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(job);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }
}

/// Circumstances of one call of an op.
#[derive(Clone, Debug)]
pub struct OpContext {
    /// Digest under which the vertex is known to observers.
    pub vertex: Digest,
    /// Name of the vertex.
    pub name: Arc<str>,
    /// The jobs which want the vertex; a live set.
    pub jobs: LiveJobs,
    /// Fires when nobody wants the answer any more.
    pub cancelled: CancellationToken,
}
