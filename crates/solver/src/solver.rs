//! The solver as callers see it: jobs, their solves, and what comes out.

use std::sync::Arc;

use oci_spec::image::Digest;

use crate::cache::Cache;
use crate::graph::{Edge, Graph};
use crate::observe::{JobId, Observer};
use crate::op::Op;

/// Settings of a solver.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SolverOptions {}

/// Solves graphs for any number of jobs at once. A cheap handle: clones share
/// all vertices in work, so that equal ones run once.
pub struct Solver<O: Op> {
    _op: std::marker::PhantomData<O>,
}

/// Why a job could not be opened.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum JobError {
    /// The name is taken.
    #[error("job {0} exists already; choose another name or end that job first")]
    Exists(JobId),
}

impl<O: Op> Solver<O> {
    /// A solver over a local cache. Must be called within a tokio runtime, on
    /// which all work will run.
    pub fn new(cache: Cache<O::Output>, options: SolverOptions) -> Self {
        let _ = (cache, options);
        Self {
            _op: std::marker::PhantomData,
        }
    }

    /// Opens a job.
    pub fn job(&self, id: JobId, observer: Arc<dyn Observer>) -> Result<Job<O>, JobError> {
        let _ = (id, observer);
        Ok(Job {
            _op: std::marker::PhantomData,
        })
    }
}

/// One build's hold on the solver. Results stay in memory until the job is
/// dropped, so that later solves of the job find them. Dropping it cancels
/// the work that no other job wants.
pub struct Job<O: Op> {
    _op: std::marker::PhantomData<O>,
}

/// A call of an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// [`Op::cache_map`].
    CacheMap,
    /// [`Op::content_digest`] of an input.
    ContentDigest(usize),
    /// [`Op::prepare`] of an input.
    Prepare(usize),
    /// [`Op::acquire`] or [`Op::execute`].
    Execute,
}

/// A vertex that failed.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {error}")]
pub struct VertexFailure<E: std::error::Error + 'static> {
    /// Digest of the vertex in the caller's graph.
    pub vertex: Digest,
    /// Its name.
    pub name: Arc<str>,
    /// Digests of the failed vertex' inputs in the caller's graph.
    pub inputs: Vec<Edge>,
    /// Which call failed.
    pub stage: Stage,
    /// What the op said.
    #[source]
    pub error: Arc<E>,
}

/// Why a solve ended without output.
#[derive(Debug, thiserror::Error)]
pub enum SolveError<E: std::error::Error + 'static> {
    /// A vertex failed.
    #[error(transparent)]
    Vertex(#[from] VertexFailure<E>),
    /// The edge asked for is not in the graph.
    #[error("vertex {0} is not in the graph; ask for one that is")]
    UnknownVertex(Digest),
    /// The op gave fewer outputs than its users expect.
    #[error("{name} ({vertex}) has no output {output}: it gave {count}; the definition is wrong")]
    NoSuchOutput {
        /// Digest of the vertex.
        vertex: Digest,
        /// Its name.
        name: Arc<str>,
        /// The output wanted.
        output: usize,
        /// How many outputs there are.
        count: usize,
    },
    /// The cache map has another number of inputs than the vertex.
    #[error(
        "{name} ({vertex}) has {inputs} inputs but describes {described} in its cache map; \
         this is a bug of the op"
    )]
    BadCacheMap {
        /// Digest of the vertex.
        vertex: Digest,
        /// Its name.
        name: Arc<str>,
        /// Inputs in the graph.
        inputs: usize,
        /// Inputs in the cache map.
        described: usize,
    },
    /// The job was ended during the solve.
    #[error("the job was cancelled; start a new one to build again")]
    Cancelled,
}

impl<O: Op> Job<O> {
    /// Name of the job.
    pub fn id(&self) -> &JobId {
        unimplemented!()
    }

    /// Ends the job from outside: running solves answer [`SolveError::Cancelled`].
    pub fn cancel(&self) {}

    /// Computes one output. `caches` are asked beside the local cache. Dropping
    /// the future gives up this solve; the job lives on. Solves of one job may
    /// run at the same time.
    pub async fn solve(
        &self,
        graph: Graph<O>,
        edge: Edge,
        caches: Vec<Cache<O::Output>>,
    ) -> Result<Solved<O::Output>, SolveError<O::Error>> {
        let _ = (graph, caches);
        Err(SolveError::UnknownVertex(edge.vertex))
    }
}

/// An output with what is needed to export how it came to be.
#[derive(Clone, Debug)]
pub struct Solved<T> {
    /// The output.
    pub output: T,
}
