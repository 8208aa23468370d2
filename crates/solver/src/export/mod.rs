//! Cache export: the records that let another build find these results.

mod chains;
mod trail;

use std::time::SystemTime;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use oci_spec::image::Digest;

use crate::cache::{Cache, CacheError};
use crate::key::{Record, Source};
use crate::solver::Solved;
use trail::{Node, Trail};

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
    type Remote: Clone + PartialEq + Send + Sync + 'static;

    /// The transferable form of a result if it exists already. Nothing is made or loaded.
    async fn existing(
        &self,
        candidate: &ExportCandidate<Self::Output>,
    ) -> Result<Option<Self::Remote>, CacheError>;

    /// The transferable form, made if needed; `candidate.output` is present.
    /// `None` when there is nothing to transfer, as for an empty filesystem.
    /// Several calls run at once.
    async fn make(
        &self,
        candidate: &ExportCandidate<Self::Output>,
    ) -> Result<Option<Self::Remote>, CacheError>;
}

/// Where an input's key may come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// The vertex it belongs to in this build, as observers know it.
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
        source: CacheError,
    },
    /// The key storage failed.
    #[error("cannot read cache keys for export: {0}")]
    Keys(#[source] CacheError),
    /// The work was cut short because the runtime ends.
    #[error("cache export was interrupted; build again to repeat it")]
    Interrupted,
}

/// How many results are turned into transferable form at once; the real
/// limits are those of whoever compresses.
const CONCURRENT: usize = 16;

/// The cache records of one or more solved edges, such as one for each
/// platform; inputs stand before what uses them.
pub async fn export<R: Remotes>(
    solved: &[Solved<R::Output>],
    options: &ExportOptions,
    remotes: &R,
) -> Result<Vec<ExportRecord<R::Remote>>, ExportError> {
    let mut trails = Vec::with_capacity(solved.len());
    for solved in solved {
        // All keys of a result lead to the same records.
        let Some(key) = solved.keys.first() else {
            continue;
        };
        let trail = Trail::of(key);
        let picker = Picker {
            caches: &solved.caches,
            options,
            remotes,
        };
        let results = match options.mode {
            ExportMode::Max => picker.all(&trail).await?,
            ExportMode::Min => picker.topmost(&trail).await?,
        };
        trails.push((trail, results, solved.caches.clone()));
    }
    let ignore_backlinks = options.ignore_backlinks;
    let records = tokio::task::spawn_blocking(move || {
        let mut builder = chains::Chains::default();
        for (trail, results, caches) in trails {
            trail::record(&trail, &results, &caches, ignore_backlinks, &mut builder)?;
        }
        Ok(builder.records())
    });
    records
        .await
        .map_err(|_| ExportError::Interrupted)?
        .map_err(ExportError::Keys)
}

/// The result of a node, if it has one to export.
type Picked<R> = Option<ExportResult<R>>;

/// Decides which result each node carries.
struct Picker<'a, R: Remotes> {
    caches: &'a [Cache<R::Output>],
    options: &'a ExportOptions,
    remotes: &'a R,
}

/// Whether results may be brought into transferable form.
#[derive(Clone, Copy, PartialEq)]
enum Effort {
    Make,
    TakeExisting,
}

impl<R: Remotes> Picker<'_, R> {
    async fn all(&self, trail: &Trail) -> Result<Vec<Picked<R::Remote>>, ExportError> {
        // Collected first: the closure must not become part of this future, whose lifetimes it would make too special.
        let picks = trail.nodes.iter().map(|node| self.pick(node, Effort::Make));
        futures::stream::iter(picks.collect::<Vec<_>>())
            .buffered(CONCURRENT)
            .try_collect()
            .await
    }

    /// Goes down from the top, and stops making once something was made.
    async fn topmost(&self, trail: &Trail) -> Result<Vec<Picked<R::Remote>>, ExportError> {
        let mut picked = vec![None; trail.nodes.len()];
        let mut seen = vec![false; trail.nodes.len()];
        let mut open: Vec<(usize, Effort)> = trail
            .top
            .iter()
            .rev()
            .map(|node| (*node, Effort::Make))
            .collect();
        while let Some((index, mut effort)) = open.pop() {
            if std::mem::replace(&mut seen[index], true) {
                continue;
            }
            let node = &trail.nodes[index];
            picked[index] = self.pick(node, effort).await?;
            if picked[index].is_some() {
                effort = Effort::TakeExisting;
            }
            let below = node
                .inputs
                .iter()
                .flatten()
                .map(|(_, input)| (*input, effort));
            let below: Vec<_> = below.collect();
            open.extend(below.into_iter().rev());
        }
        Ok(picked)
    }

    async fn pick(&self, node: &Node, effort: Effort) -> Result<Picked<R::Remote>, ExportError> {
        if node.key.inputs.is_empty() && !self.options.roots {
            return Ok(None);
        }
        let Some((record, cache)) = self.stored(node) else {
            return Ok(None);
        };
        let mut candidate = ExportCandidate {
            cache: record.cache.to_string(),
            id: record.id.clone(),
            created: record.created,
            output: None,
        };
        let failed = |source| ExportError::Remote {
            cache: record.cache.to_string(),
            id: record.id.clone(),
            source,
        };
        let mut remote = self.remotes.existing(&candidate).await.map_err(failed)?;
        if remote.is_none() && effort == Effort::Make {
            match cache.results.load(&record.id).await {
                Ok(output) => {
                    candidate.output = Some(output);
                    remote = self.remotes.make(&candidate).await.map_err(failed)?;
                }
                // It was pruned meanwhile; the record goes without.
                Err(error) => {
                    tracing::warn!(id = record.id, %error, "cached result is gone; not exported");
                }
            }
        }
        let origin = node.key.origin.as_ref();
        Ok(remote.map(|remote| ExportResult {
            remote,
            created: record.created,
            vertex: origin.map(|origin| origin.vertex.clone()),
            output: origin.map_or(0, |origin| origin.output),
        }))
    }

    /// The best record of a node that its cache still has.
    fn stored<'n>(&self, node: &'n Node) -> Option<(&'n Record, &Cache<R::Output>)> {
        let mut records: Vec<&Record> = match &*node.source {
            Source::Made { record, .. } => record.iter().collect(),
            Source::Found {
                records,
                export: true,
            } => records.iter().collect(),
            Source::Found { export: false, .. } | Source::Content | Source::Several(_) => vec![],
        };
        records.sort_by_key(|record| record.rank());
        records.into_iter().find_map(|record| {
            let cache = self
                .caches
                .iter()
                .find(|cache| *cache.id == *record.cache)?;
            let key = record.key.ids().get(&record.cache).cloned()?;
            let stored = cache.keys.results(&key).ok()?;
            stored
                .iter()
                .any(|result| result.id == record.id)
                .then_some((record, cache))
        })
    }
}
