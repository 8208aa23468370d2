//! Imports caches before a build.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::join_all;
use kiln_remote_cache::mounts::{MountKeys, MountSource};
use kiln_remote_cache::{
    CachedLayers, ImportOptions, Imported, Losses, OptionError, Place, StoreEnvironment,
};
use kiln_session::Session;
use kiln_session::progress::ProgressSink;
use kiln_solver::Cache;
use oci_spec::image::Descriptor;
use tokio::sync::OnceCell;

use super::{BuildMounts, client_cache, store};
use crate::engine::Engine;
use crate::error::{BuildError, Kind};
use crate::explain::FactBook;
use crate::ops::Output;
use crate::registries::Access;
use crate::request::CacheEntry;
use crate::step::Step;

/// A cache import whose keys have been checked.
pub(crate) struct CacheImport {
    options: ImportOptions,
    mounts: MountKeys,
}

/// A cache that cannot be read for want of a key. Where a build has no access to a cache, as those of strangers on a
/// CI system, its variables are empty; it goes on without.
pub(crate) struct Inaccessible {
    /// Names it.
    kind: String,
    lack: OptionError,
}

/// Checks the keys of all imports.
pub(crate) fn parse_imports(
    entries: &[CacheEntry],
    environment: &StoreEnvironment,
) -> Result<Vec<Result<CacheImport, Inaccessible>>, BuildError> {
    let invalid = |error| BuildError::wrap(Kind::Input, error);
    let parsed = entries.iter().map(|entry| {
        let mut attributes = environment.complete(&entry.kind, &entry.attributes);
        let mounts = MountKeys::take(&entry.kind, &mut attributes).map_err(invalid)?;
        match ImportOptions::parse(&entry.kind, &attributes) {
            Ok(options) => Ok(Ok(CacheImport { options, mounts })),
            Err(lack @ OptionError::Missing { .. }) => Ok(Err(Inaccessible {
                kind: entry.kind.clone(),
                lack,
            })),
            Err(error) => Err(invalid(error)),
        }
    });
    parsed.collect()
}

/// A cache that is read once.
type Import = Arc<OnceCell<Found>>;

/// What came of an import; `None` for what there is not.
#[derive(Clone, Default)]
struct Found {
    cache: Option<Cache<Output>>,
    mounts: Option<Arc<MountSource>>,
}

/// What is known of a cache beside its keys and results.
struct ReadCache {
    id: String,
    name: String,
    /// What is found missing when it is needed.
    losses: Losses,
    layers: CachedLayers,
}

/// The caches that one build has read, whoever named them.
pub(crate) struct Imports {
    cells: Mutex<BTreeMap<CacheEntry, Import>>,
    read: Mutex<Vec<ReadCache>>,
    /// Hears of those that cannot be read.
    facts: Arc<FactBook>,
    /// Hears of the mounts that may lie beside them.
    mounts: Arc<BuildMounts>,
}

impl Imports {
    pub(crate) fn new(facts: Arc<FactBook>, mounts: Arc<BuildMounts>) -> Self {
        Self {
            cells: Mutex::default(),
            read: Mutex::default(),
            facts,
            mounts,
        }
    }

    /// Reads all caches, side by side and each once. Those that cannot be
    /// used are left out, with a warning. Steps may have the mounts beside
    /// them, those of the first cache rather than of others.
    pub(crate) async fn get(
        &self,
        engine: &Engine,
        session: &Session,
        progress: &ProgressSink,
        entries: &[CacheEntry],
    ) -> Result<Vec<Cache<Output>>, BuildError> {
        let imports = parse_imports(entries, &engine.stores)?;
        let caches = entries.iter().zip(imports).map(|(entry, import)| {
            let cell = self.cell(entry);
            async move {
                // Boxed: what it awaits is nested too deeply for the compiler to see through from afar.
                let read = || self.read(engine, session, progress, import).boxed();
                cell.get_or_init(read).await.clone()
            }
        });
        let read = join_all(caches).await;
        let offered = read.iter().filter_map(|read| read.mounts.clone());
        self.mounts.offer(offered);
        Ok(read.into_iter().filter_map(|read| read.cache).collect())
    }

    fn cell(&self, entry: &CacheEntry) -> Import {
        let mut known = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(entry.clone()).or_default().clone()
    }

    async fn read(
        &self,
        engine: &Engine,
        session: &Session,
        progress: &ProgressSink,
        import: Result<CacheImport, Inaccessible>,
    ) -> Found {
        let name = match &import {
            Ok(import) => import.options.to_string(),
            Err(Inaccessible { kind, .. }) => kind.clone(),
        };
        let step = Step::start(progress, format!("importing cache manifest from {name}"));
        let opened = async {
            let found = import.map_err(|error| BuildError::wrap(Kind::Input, error.lack));
            let CacheImport { options, mounts } = found?;
            let way = way(engine, session, &options).await?;
            Ok::<_, BuildError>((options, mounts, way))
        };
        let (options, mounts, way) = match opened.await {
            Ok(opened) => opened,
            Err(error) => {
                step.reporter.warn(&error.message);
                self.facts.unusable_import(&name, &error.message);
                step.end(String::new());
                return Found::default();
            }
        };
        let store = &engine.worker.store;
        let mounts = MountSource::new(&options, &mounts, way.clone(), store.content());
        let mounts = mounts.unwrap_or_else(|error| {
            step.reporter.warn(&crate::error::chain(&error));
            None
        });
        let Imported {
            cache,
            warnings,
            losses,
            layers,
        } = kiln_remote_cache::import(&options, store, way, Some).await;
        for warning in &warnings {
            step.reporter.warn(warning);
        }
        if cache.is_none() {
            let reason = warnings.first().map_or("it holds nothing", String::as_str);
            self.facts.unusable_import(&name, reason);
        }
        step.end(String::new());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.extend(cache.as_ref().map(|cache| ReadCache {
            id: cache.id.clone(),
            name,
            losses,
            layers,
        }));
        Found {
            cache,
            mounts: mounts.map(Arc::new),
        }
    }

    /// The name of a cache that was read, by its id.
    pub(crate) fn name(&self, cache: &str) -> Option<String> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let known = read.iter().find(|known| known.id == cache)?;
        Some(known.name.clone())
    }

    /// The layers of a result in a cache that was read, bottom first.
    pub(crate) fn layers(&self, cache: &str, result: &str) -> Vec<Descriptor> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let known = read.iter().find(|known| known.id == cache);
        known.map_or_else(Vec::new, |known| known.layers.of(result))
    }

    /// Tells what caches turned out to lack since it was told last. The results that it belongs to are misses.
    pub(crate) fn tell_losses(&self, progress: &ProgressSink) {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut step = None;
        for ReadCache { name, losses, .. } in read.iter() {
            for reason in losses.news() {
                let title = "building what imported caches lack";
                let step = step.get_or_insert_with(|| Step::start(progress, title));
                step.reporter.warn(&format!("cache {name} lacks {reason}"));
            }
        }
        if let Some(step) = step {
            step.end(String::new());
        }
    }
}

/// Where the cache is had from, if not from a directory on this machine.
async fn way(
    engine: &Engine,
    session: &Session,
    options: &ImportOptions,
) -> Result<Option<Place>, BuildError> {
    match options {
        ImportOptions::Directory { path, .. } => client_cache(session, path).await,
        ImportOptions::Registry {
            reference,
            insecure,
        } => {
            let repository = engine.repository(reference, Access::of(*insecure), session)?;
            Ok(Some(Place::Repository(repository)))
        }
        ImportOptions::Store(options) => store(engine, options).await.map(Some),
    }
}
