//! What jobs are told about their vertices.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use oci_spec::image::Digest;

/// Name of a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(Arc<str>);

impl JobId {
    /// The job of this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A vertex as observers know it.
#[derive(Debug, PartialEq, Eq)]
pub struct VertexInfo {
    /// Digest under which all events of the vertex come. It differs from the
    /// definition's when the vertex has to run without cache beside another
    /// one that may use it.
    pub digest: Digest,
    /// Digest in the graph that the caller gave.
    pub definition: Digest,
    /// Name of the vertex.
    pub name: Arc<str>,
    /// Digests of the vertices it depends on, as observers know them.
    pub inputs: Vec<Digest>,
}

/// What happened to a vertex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It became part of a job.
    Added,
    /// Work on it began. A vertex without inputs may start more than once:
    /// for its cache key and for its result.
    Started,
    /// Its result is being taken from a cache.
    CacheStarted,
    /// Work ended well.
    Completed,
    /// The result came from a cache.
    Cached,
    /// The cached result could not be loaded, or was lost afterwards; the vertex will run.
    CacheMissed,
    /// Work ended with an error.
    Failed(Arc<str>),
    /// Nobody wanted the answer any more.
    Cancelled,
}

/// One event in the life of a vertex.
#[derive(Clone, Debug)]
pub struct VertexEvent {
    /// Which vertex.
    pub vertex: Arc<VertexInfo>,
    /// What happened.
    pub progress: Progress,
    /// When.
    pub time: SystemTime,
}

/// Receives the events of one job: for each vertex [`Progress::Added`] first,
/// then what happened to it, before the job came as well. A vertex that is not
/// needed since the cache knows what is built on it, is [`Progress::Cached`]
/// without a start.
///
/// Called from inside the scheduler: it must return at once and must not call back.
pub trait Observer: Send + Sync + 'static {
    /// Takes one event.
    fn vertex(&self, event: VertexEvent);
}

/// An observer for jobs nobody watches.
impl Observer for () {
    fn vertex(&self, _: VertexEvent) {}
}
