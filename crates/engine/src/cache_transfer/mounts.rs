//! Cache mounts that come with imported caches: what a build knows of them, and how a step gets them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use kiln_llb::Vertex;
use kiln_llb::pb::{MountType, op};
use kiln_remote_cache::Place;
use kiln_remote_cache::mounts::{MountError, MountKeys, MountSource};
use kiln_store::cache_mount::Fill;
use kiln_store::checksum::ChecksumOptions;
use kiln_store::{ContentStore, Ref};

use super::parse_imports;
use crate::checksums::Selector;
use crate::engine::blocking;
use crate::error::{BuildError, Kind};
use crate::jobs::Reporter;
use crate::request::CacheEntry;
use crate::worker::Worker;

/// The cache mounts of one build: which its steps have, and where they could come from.
#[derive(Default)]
pub(crate) struct BuildMounts(Mutex<State>);

#[derive(Default)]
struct State {
    used: BTreeSet<UsedMount>,
    offered: BTreeSet<CacheEntry>,
    sources: Vec<Arc<MountSource>>,
}

/// A cache mount that a step has, whether the step ran or was cached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UsedMount {
    pub(crate) id: String,
    /// Whether it starts with a tree.
    pub(crate) is_seeded: bool,
}

impl BuildMounts {
    /// Notes the mounts of steps.
    pub(crate) fn note<'a>(&self, vertices: impl Iterator<Item = &'a Vertex>) {
        let mut state = self.state();
        for vertex in vertices {
            let Some(op::Op::Exec(exec)) = &vertex.op.op else {
                continue;
            };
            for mount in &exec.mounts {
                if let Some(options) = &mount.cache_opt
                    && mount.mount_type == MountType::Cache as i32
                {
                    state.used.insert(UsedMount {
                        id: options.id.clone(),
                        is_seeded: mount.input >= 0,
                    });
                }
            }
        }
    }

    /// Those that were noted.
    pub(crate) fn used(&self) -> BTreeSet<UsedMount> {
        self.state().used.clone()
    }

    /// Whether a cache was not offered before. It counts as offered from now on.
    pub(crate) fn is_new(&self, entry: &CacheEntry) -> bool {
        self.state().offered.insert(entry.clone())
    }

    /// Adds what may lie beside a cache that the build imports.
    pub(crate) fn offer(
        &self,
        entry: &CacheEntry,
        way: Option<Place>,
        content: &ContentStore,
    ) -> Result<(), BuildError> {
        let mut attributes = entry.attributes.clone();
        let wrong = |error| BuildError::wrap(Kind::Input, error);
        let keys = MountKeys::take(&entry.kind, &mut attributes).map_err(wrong)?;
        for options in parse_imports(std::slice::from_ref(entry))? {
            let source = MountSource::new(&options, &keys, way.clone(), content);
            let source = source.map_err(|error| BuildError::wrap(Kind::Input, error))?;
            self.state().sources.extend(source.map(Arc::new));
        }
        Ok(())
    }

    fn sources(&self) -> Vec<Arc<MountSource>> {
        self.state().sources.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a step's new cache mount may start with.
pub(crate) struct ImportedMount {
    id: String,
    seed: Option<Ref>,
    worker: Arc<Worker>,
    sources: Vec<Arc<MountSource>>,
    reporter: Reporter,
}

impl ImportedMount {
    /// Looks for a mount beside the caches that these builds import; `None` if there are no such caches.
    pub(crate) fn new(
        id: &str,
        seed: Option<&Ref>,
        worker: &Arc<Worker>,
        (builds, reporter): (Vec<Arc<BuildMounts>>, Reporter),
    ) -> Option<Arc<dyn Fill>> {
        let sources: Vec<_> = builds.iter().flat_map(|build| build.sources()).collect();
        (!sources.is_empty()).then(|| {
            Arc::new(Self {
                id: id.to_owned(),
                seed: seed.cloned(),
                worker: worker.clone(),
                sources,
                reporter,
            }) as Arc<dyn Fill>
        })
    }

    /// The seed of the wanted mount as a source knows it, if it has the mount.
    async fn seed_in(&self, source: &MountSource) -> Result<Option<Option<String>>, String> {
        let seeds = source.seeds(&self.id).await.map_err(|it| chain(&it))?;
        let seed = match &self.seed {
            _ if seeds.is_empty() => return Ok(None),
            None => None,
            Some(seed) => {
                let digest = seed_digest(&self.worker, seed).await;
                Some(digest.map_err(|error| error.to_string())?)
            }
        };
        Ok(seeds.contains(&seed).then_some(seed))
    }

    fn warn(&self, reason: &str) {
        let id = &self.id;
        let warning = format!("cache mount {id} starts without what was exported of it: {reason}");
        self.reporter.warn(&warning);
    }
}

#[async_trait]
impl Fill for ImportedMount {
    async fn fill(&self, dir: &Path) -> bool {
        for source in &self.sources {
            let seed = match self.seed_in(source).await {
                Ok(Some(seed)) => seed,
                Ok(None) => continue,
                Err(reason) => {
                    self.warn(&reason);
                    continue;
                }
            };
            let title = format!("restoring cache mount {}", self.id);
            let activity = self.reporter.activity(title);
            match source.restore(&self.id, seed.as_deref(), dir).await {
                Ok(Some(restored)) => {
                    activity.done(restored.size, restored.size);
                    return true;
                }
                Ok(None) => activity.done(0, 0),
                Err(error) => {
                    activity.done(0, 0);
                    self.warn(&chain(&error));
                    return false;
                }
            }
        }
        false
    }
}

impl fmt::Debug for ImportedMount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.id)
    }
}

/// What a seed is known by on every machine: the checksum of its tree.
pub(super) async fn seed_digest(worker: &Arc<Worker>, seed: &Ref) -> Result<String, BuildError> {
    let materialized = seed.materialize().await;
    materialized.map_err(crate::tree::store_error)?;
    let (worker, seed) = (worker.clone(), seed.clone());
    blocking(move || {
        let whole = Selector {
            path: "/".into(),
            options: ChecksumOptions::default(),
        };
        let digests = worker.checksums.checksums(&worker.store, &seed, &[whole])?;
        let digest = digests.into_iter().next();
        digest
            .map(|digest| digest.to_string())
            .ok_or_else(|| BuildError::new(Kind::Internal, "no checksum for a tree"))
    })
    .await
}

fn chain(error: &MountError) -> String {
    crate::error::chain(error)
}
