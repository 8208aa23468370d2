//! What the core is told, and what it wants done.

use std::sync::Arc;

use oci_spec::image::Digest;

use super::ids::{RequestId, TaskId, VertexId};
use crate::context::LiveJobs;
use crate::error::SolveError;
use crate::graph::VertexOptions;
use crate::key::{Key, KeyUse, Record, TracedKey};
use crate::observe::{JobId, VertexInfo};
use crate::op::CacheMap;

/// A vertex as the core needs it; inputs are positions in the same list.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub digest: Digest,
    pub name: Arc<str>,
    pub inputs: Vec<(usize, usize)>,
    pub options: VertexOptions,
}

/// A job wants one output of one vertex of a graph, inputs listed first.
#[derive(Debug)]
pub(crate) struct Solve {
    pub job: JobId,
    pub request: RequestId,
    pub graph: Vec<Shape>,
    pub root: usize,
    pub output: usize,
}

/// Something that happened outside.
#[derive(Debug)]
pub(crate) enum Event<T, E: std::error::Error + 'static> {
    Solve(Solve),
    /// Nobody waits for the request any more.
    GiveUp(RequestId),
    EndJob(JobId),
    /// The results of these vertices are lost, says the job.
    Disown(JobId, Vec<VertexId>),
    Finished(TaskId, Outcome<T, E>),
}

/// The answer to a task.
#[derive(Debug)]
pub(crate) enum Outcome<T, E> {
    CacheMap(Result<CacheMap, Arc<E>>),
    ContentDigest(Result<Option<Digest>, Arc<E>>),
    Prepared(Result<(), Arc<E>>),
    Executed(Result<Vec<T>, Arc<E>>),
    /// Nothing if the result could not be loaded.
    Loaded(Option<T>),
    /// One record for each key, nothing where it could not be saved.
    Committed(Vec<Option<Record>>),
    Matches(Vec<Arc<Key>>),
    Records(Vec<Record>),
    /// Instead of any of the above: the call panicked.
    Panicked(String),
    /// Instead of any of the above: the call was cancelled, and did not end.
    Abandoned,
}

/// Asks caches where keys lead to.
#[derive(Debug)]
pub(crate) struct Query {
    /// Keys of one input, any of which may lead to a match. Empty for an op
    /// without inputs.
    pub keys: Vec<KeyUse>,
    /// Keys which are as good as these: remember them, but do not follow them.
    pub equal: Vec<KeyUse>,
    pub input: usize,
    /// See [`crate::root_key`].
    pub digest: Digest,
}

/// Something to be done outside.
#[derive(Debug)]
pub(crate) enum Action<T, E: std::error::Error + 'static> {
    /// The vertex at this position of the graph got a place in the core.
    Created {
        vertex: VertexId,
        position: usize,
        info: Arc<VertexInfo>,
        jobs: LiveJobs,
        inputs: Vec<VertexId>,
    },
    /// The job uses a vertex that was there already.
    Shared {
        vertex: VertexId,
    },
    /// The vertex became part of a job.
    Added {
        vertex: VertexId,
        job: JobId,
    },
    /// An edge of the first vertex is served by one of the second from now on.
    Merged {
        from: VertexId,
        into: VertexId,
    },
    /// The vertex lost its result, and the job is to hear of it.
    Lost {
        vertex: VertexId,
        job: JobId,
    },
    /// The vertex is gone.
    Forget(VertexId),

    CacheMap {
        task: TaskId,
        vertex: VertexId,
        index: usize,
    },
    ContentDigest {
        task: TaskId,
        vertex: VertexId,
        input: usize,
        output: T,
    },
    Prepare {
        task: TaskId,
        vertex: VertexId,
        input: usize,
        output: T,
    },
    Execute {
        task: TaskId,
        vertex: VertexId,
        inputs: Vec<T>,
    },
    /// Answered by [`Outcome::Loaded`].
    Load {
        task: TaskId,
        vertex: VertexId,
        record: Record,
    },
    /// Keep an output under these keys.
    Commit {
        task: TaskId,
        vertex: VertexId,
        keys: Vec<Arc<Key>>,
        output: T,
    },
    /// Answered by [`Outcome::Matches`].
    Query {
        task: TaskId,
        vertex: VertexId,
        query: Query,
    },
    /// Which results hang on a key.
    Records {
        task: TaskId,
        vertex: VertexId,
        key: Arc<Key>,
    },
    /// The answer to a task is not wanted any more; it must still come.
    Cancel(TaskId),

    Answer(RequestId, Answer<T, E>),
}

impl<T, E: std::error::Error + 'static> Action<T, E> {
    /// The task which the action starts, and for which vertex.
    pub(crate) fn task(&self) -> Option<(VertexId, TaskId)> {
        match self {
            Self::CacheMap { task, vertex, .. }
            | Self::ContentDigest { task, vertex, .. }
            | Self::Prepare { task, vertex, .. }
            | Self::Execute { task, vertex, .. }
            | Self::Load { task, vertex, .. }
            | Self::Commit { task, vertex, .. }
            | Self::Query { task, vertex, .. }
            | Self::Records { task, vertex, .. } => Some((*vertex, *task)),
            _ => None,
        }
    }
}

/// The end of a request: the output with its keys, or why there is none.
pub(crate) type Answer<T, E> = Result<(T, Vec<TracedKey>), SolveError<E>>;
