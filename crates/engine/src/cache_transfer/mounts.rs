//! Cache mounts that come with imported caches: what a build knows of them, and how a step gets them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use kiln_llb::Vertex;
use kiln_llb::pb::{MountType, op};
use kiln_remote_cache::mounts::{MountError, MountSource};
use kiln_store::Ref;
use kiln_store::cache_mount::{Fill, Filling};
use kiln_store::checksum::ChecksumOptions;

use crate::checksums::Selector;
use crate::engine::blocking;
use crate::error::{BuildError, Kind};
use crate::jobs::Reporter;
use crate::worker::Worker;

/// The cache mounts of one build: which its steps have, and where they could come from.
#[derive(Default)]
pub(crate) struct BuildMounts(Mutex<State>);

#[derive(Default)]
struct State {
    used: BTreeSet<UsedMount>,
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

    /// Adds what may lie beside caches that the build imports, and that it did not know of.
    pub(super) fn offer(&self, offered: impl Iterator<Item = Arc<MountSource>>) {
        let mut state = self.state();
        for source in offered {
            if !state
                .sources
                .iter()
                .any(|known| Arc::ptr_eq(known, &source))
            {
                state.sources.push(source);
            }
        }
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
    pub(crate) fn beside_imports(
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

    async fn fetch_from(&self, source: &MountSource) -> Result<Option<Filling>, String> {
        let Some(seed) = self.seed_in(source).await? else {
            return Ok(None);
        };
        let title = format!("restoring cache mount {}", shown(&self.id));
        let activity = self.reporter.activity(title);
        let fetched = source.fetch(&self.id, seed.as_deref()).await;
        let tree = match fetched {
            Ok(Some(tree)) => tree,
            nothing => {
                activity.done(0, 0);
                return nothing.map(|_| None).map_err(|error| chain(&error));
            }
        };
        let (reporter, id) = (self.reporter.clone(), self.id.clone());
        Ok(Some(Box::new(move |dir| {
            let size = tree.size();
            let unpacked = tree.unpack(dir);
            activity.done(size, size);
            if let Err(error) = &unpacked {
                warn(&reporter, &id, &chain(error));
            }
            unpacked.is_ok()
        })))
    }
}

#[async_trait]
impl Fill for ImportedMount {
    async fn fetch(&self) -> Option<Filling> {
        for source in &self.sources {
            match self.fetch_from(source).await {
                Ok(Some(filling)) => return Some(filling),
                Ok(None) => {}
                Err(reason) => warn(&self.reporter, &self.id, &reason),
            }
        }
        None
    }
}

/// An id as users wrote it: in front of it are its namespace, which as a rule is empty, and a slash.
fn shown(id: &str) -> &str {
    id.strip_prefix('/').unwrap_or(id)
}

/// Tells that a mount could not be had.
fn warn(reporter: &Reporter, id: &str, reason: &str) {
    let id = shown(id);
    let warning = format!("cache mount {id} starts without what was exported of it: {reason}");
    reporter.warn(&warning);
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
