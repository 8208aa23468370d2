//! Schedules a graph of ops and reuses cached results.
//!
//! A caller describes work as a [`Graph`] of [`Vertex`]es, each with an
//! [`Op`], opens a [`Job`] on a [`Solver`] and asks it for one [`Edge`]. The
//! solver finds out by cache keys what is known already, runs what is not,
//! and hands back a [`Solved`] output from which the cache records of the
//! whole build can be exported.
//!
//! The crate knows nothing about containers, files or networks: outputs are
//! an opaque type of the op, and all storage stands behind two traits.

mod graph;
mod op;

mod cache;
mod memory;

mod context;
mod observe;

mod error;
mod solver;

mod call;
mod core;
mod driver;
mod status;

mod digest;
mod key;
mod ledger;
mod promote;

mod export;

pub mod conformance;

pub use cache::{Cache, CacheError, KeyStore, Link, ResultStore, StoredResult};
pub use context::{LiveJobs, OpContext};
pub use digest::root_key;
pub use error::{JobError, SolveError, Stage, VertexFailure};
pub use export::{
    ExportCandidate, ExportError, ExportLink, ExportMode, ExportOptions, ExportRecord,
    ExportResult, Remotes, export,
};
pub use graph::{Edge, Graph, GraphError, Vertex, VertexOptions};
pub use ledger::forget_lost_results;
pub use memory::{MemoryKeys, MemoryResults};
pub use observe::{JobId, Observer, Progress, VertexEvent, VertexInfo};
pub use op::{CacheDep, CacheMap, Op, Permit};
pub use solver::{Holder, Job, Solved, Solver, SolverOptions};
