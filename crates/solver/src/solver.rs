//! The solver as callers see it: jobs, their solves, and what comes out.

use std::sync::Arc;

use oci_spec::image::Digest;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::core::{Event, RequestId, Shape, Solve, VertexId};
use crate::driver::{Driver, Given};
use crate::error::{JobError, SolveError};
use crate::graph::{Edge, Graph};
use crate::key::TracedKey;
use crate::observe::{JobId, Observer};
use crate::op::Op;

/// Settings of a solver.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SolverOptions {}

/// Solves graphs for any number of jobs at once. A cheap handle: clones share
/// all vertices in work, so that equal ones run once.
pub struct Solver<O: Op> {
    driver: Arc<Driver<O>>,
}

impl<O: Op> Clone for Solver<O> {
    fn clone(&self) -> Self {
        Self {
            driver: self.driver.clone(),
        }
    }
}

impl<O: Op> std::fmt::Debug for Solver<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Solver")
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

impl<O: Op> Solver<O> {
    /// A solver over a local cache. Must be called within a tokio runtime, on
    /// which all work will run.
    pub fn new(cache: Cache<O::Output>, options: SolverOptions) -> Self {
        let SolverOptions {} = options;
        Self {
            driver: Driver::start(cache),
        }
    }

    /// The local cache.
    pub fn cache(&self) -> &Cache<O::Output> {
        self.driver.local()
    }

    /// Opens a job.
    pub fn job(&self, id: JobId, observer: Arc<dyn Observer>) -> Result<Job<O>, JobError> {
        self.driver.add_job(&id, observer)?;
        Ok(Job {
            driver: self.driver.clone(),
            id,
            ended: CancellationToken::new(),
        })
    }

    /// Waits until no call of an op is under way, cancelled ones included.
    pub async fn idle(&self) {
        self.driver.idle().await;
    }

    /// How many things are kept for live jobs; nothing once all jobs ended.
    pub fn size(&self) -> usize {
        self.driver.size()
    }
}

/// One build's hold on the solver. Results stay in memory until the job is
/// dropped, so that later solves of the job find them. Dropping it cancels
/// the work that no other job wants.
pub struct Job<O: Op> {
    driver: Arc<Driver<O>>,
    id: JobId,
    ended: CancellationToken,
}

impl<O: Op> std::fmt::Debug for Job<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl<O: Op> Drop for Job<O> {
    fn drop(&mut self) {
        self.driver.end_job(&self.id);
    }
}

impl<O: Op> Job<O> {
    /// Name of the job.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// Ends the job from outside: running and later solves answer
    /// [`SolveError::Cancelled`].
    pub fn cancel(&self) {
        self.ended.cancel();
        self.driver.apply(Event::EndJob(self.id.clone()));
    }

    /// The outputs that the job holds by now, each with who holds it.
    pub fn outputs(&self) -> Vec<(Holder, O::Output)> {
        let outputs = self.driver.outputs(&self.id).into_iter();
        outputs
            .map(|(vertex, output)| (Holder(vertex), output))
            .collect()
    }

    /// Outputs turned out to be of no use, such as cached ones whose files are lost. Solves that begin after this, of
    /// whatever job, share neither what holds them nor what builds on that: they ask the caches again, or run ops.
    /// Solves under way keep what they have.
    pub fn disown(&self, lost: &[Holder]) {
        let lost = lost.iter().map(|holder| holder.0).collect();
        self.driver.apply(Event::Disown(self.id.clone(), lost));
    }

    /// Computes one output. `caches` are asked beside the local cache. Dropping
    /// the future gives up this solve; the job lives on. Solves of one job may
    /// run at the same time.
    pub async fn solve(
        &self,
        graph: Graph<O>,
        edge: Edge,
        caches: Vec<Cache<O::Output>>,
    ) -> Result<Solved<O::Output>, SolveError<O::Error>> {
        let Some(root) = graph.position(&edge.vertex) else {
            return Err(SolveError::UnknownVertex(edge.vertex));
        };
        let (sender, answer) = oneshot::channel();
        let shapes = shapes(&graph);
        let solve = |request| Solve {
            job: self.id.clone(),
            request,
            graph: shapes,
            root,
            output: edge.output,
        };
        let given = Given {
            graph: &graph,
            caches: &caches,
        };
        // Checked with the request in place, so that no end of the job is missed.
        let request = self.driver.solve(&self.ended, solve, given, sender);
        drop(graph);
        let _guard = GiveUp {
            driver: &self.driver,
            request,
        };
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(SolveError::Cancelled),
        }
    }
}

/// A vertex with an output that a job holds. No two are equal, whatever their digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder(VertexId);

/// Ends a request that nobody waits for any more.
struct GiveUp<'a, O: Op> {
    driver: &'a Arc<Driver<O>>,
    request: RequestId,
}

impl<O: Op> Drop for GiveUp<'_, O> {
    fn drop(&mut self) {
        self.driver.apply(Event::GiveUp(self.request));
    }
}

fn shapes<O>(graph: &Graph<O>) -> Vec<Shape> {
    let shape = |vertex: &crate::graph::Vertex<O>| Shape {
        digest: vertex.digest.clone(),
        name: vertex.name.as_str().into(),
        inputs: vertex
            .inputs
            .iter()
            .filter_map(|input| Some((graph.position(&input.vertex)?, input.output)))
            .collect(),
        options: vertex.options.clone(),
    };
    graph.vertices().iter().map(shape).collect()
}

/// An output with what is needed to export how it came to be.
#[derive(Clone, Debug)]
pub struct Solved<T> {
    /// The output.
    pub output: T,
    pub(crate) keys: Vec<TracedKey>,
    pub(crate) caches: Vec<Cache<T>>,
}

impl<T> Solved<T> {
    /// Digest of the cache record that stands for the output.
    pub fn record_digest(&self) -> Option<&Digest> {
        self.keys.first().map(|key| &key.key.digest)
    }
}
