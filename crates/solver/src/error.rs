//! Why a solve fails.

use std::sync::Arc;

use oci_spec::image::Digest;

use crate::graph::Edge;
use crate::observe::JobId;

/// Why a job could not be opened.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum JobError {
    /// The name is taken.
    #[error("job {0} exists already; choose another name or end that job first")]
    Exists(JobId),
}

/// A call of an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// [`Op::cache_map`](crate::Op::cache_map).
    CacheMap,
    /// [`Op::content_digest`](crate::Op::content_digest) of an input.
    ContentDigest(usize),
    /// [`Op::prepare`](crate::Op::prepare) of an input.
    Prepare(usize),
    /// [`Op::acquire`](crate::Op::acquire) or [`Op::execute`](crate::Op::execute).
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
    /// The failed vertex' inputs, by digests in the caller's graph.
    pub inputs: Vec<Edge>,
    /// Which call failed.
    pub stage: Stage,
    /// What the op said.
    #[source]
    pub error: Arc<E>,
}

impl<E: std::error::Error + 'static> Clone for VertexFailure<E> {
    fn clone(&self) -> Self {
        Self {
            vertex: self.vertex.clone(),
            name: self.name.clone(),
            inputs: self.inputs.clone(),
            stage: self.stage,
            error: self.error.clone(),
        }
    }
}

/// Why a solve ended without output.
#[derive(Debug, thiserror::Error)]
pub enum SolveError<E: std::error::Error + 'static> {
    /// A vertex failed.
    #[error(transparent)]
    Vertex(#[from] VertexFailure<E>),
    /// An op panicked.
    #[error("{name} ({vertex}) panicked: {message}; this is a bug of the op, please report it")]
    Panicked {
        /// Digest of the vertex in the caller's graph.
        vertex: Digest,
        /// Its name.
        name: Arc<str>,
        /// What the panic said.
        message: String,
    },
    /// The edge asked for is not in the graph.
    #[error("vertex {0} is not in the graph; ask for one that is")]
    UnknownVertex(Digest),
    /// The op gave fewer outputs than its users expect.
    #[error(
        "{name} ({vertex}) has no output {output}, only {count}; the definition names a wrong one"
    )]
    NoSuchOutput {
        /// Digest of the vertex in the caller's graph.
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
         this is a bug of the op, please report it"
    )]
    BadCacheMap {
        /// Digest of the vertex in the caller's graph.
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

impl<E: std::error::Error + 'static> Clone for SolveError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Vertex(failure) => Self::Vertex(failure.clone()),
            Self::Panicked {
                vertex,
                name,
                message,
            } => Self::Panicked {
                vertex: vertex.clone(),
                name: name.clone(),
                message: message.clone(),
            },
            Self::UnknownVertex(vertex) => Self::UnknownVertex(vertex.clone()),
            Self::NoSuchOutput {
                vertex,
                name,
                output,
                count,
            } => Self::NoSuchOutput {
                vertex: vertex.clone(),
                name: name.clone(),
                output: *output,
                count: *count,
            },
            Self::BadCacheMap {
                vertex,
                name,
                inputs,
                described,
            } => Self::BadCacheMap {
                vertex: vertex.clone(),
                name: name.clone(),
                inputs: *inputs,
                described: *described,
            },
            Self::Cancelled => Self::Cancelled,
        }
    }
}
