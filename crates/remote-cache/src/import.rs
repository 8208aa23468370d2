//! Reading a cache.

use std::sync::Arc;

use kiln_registry::{Reference, Repository};
use kiln_session::RemoteContent;
use kiln_solver::Cache;
use kiln_store::{Ref, Store};

use crate::directory;
use crate::graph::{CacheGraph, CachedLayers};
use crate::keys::ImportedKeys;
use crate::losses::Losses;
use crate::manifest::Reader;
use crate::model::{Descriptor, Manifest};
use crate::options::{ImportOptions, Version};
use crate::place::{LIMIT, Place, ReadError};
use crate::results::{ImportedResults, Wrap};
use crate::stores;

/// What came of an import.
pub struct Imported<O> {
    /// The cache, unless nothing of it could be used.
    pub cache: Option<Cache<O>>,
    /// What was wrong. An import never fails a build.
    pub warnings: Vec<String>,
    /// Blobs that are missed later, when a step needs them. Results with one are misses from then on.
    pub losses: Losses,
    /// The layers of its results.
    pub layers: CachedLayers,
}

/// Reads a cache. For a registry, `way` is the repository to pull from; for a store, that; for a directory, it is the
/// client that has it, if that is not this machine. Layers are fetched when their files are needed; `wrap` makes the engine's output of a
/// result's ref.
pub async fn import<O: Clone + Send + Sync + 'static>(
    options: &ImportOptions,
    store: &Store,
    way: Option<Place>,
    wrap: impl Fn(Ref) -> O + Send + Sync + 'static,
) -> Imported<O> {
    let mut warnings = Vec::new();
    let wrap: Wrap<O> = Arc::new(wrap);
    let losses = Losses::default();
    let mut layers = CachedLayers::default();
    let cache = match read(options, way, &mut warnings).await {
        Ok(read) => {
            let (cache, graph) = read.into_cache(store, wrap, &losses);
            layers = CachedLayers(graph);
            Some(cache)
        }
        Err(error) => {
            warnings.push(format!("cache import from {options} skipped: {error}"));
            None
        }
    };
    Imported {
        cache,
        warnings,
        losses,
        layers,
    }
}

/// A cache in memory.
struct Read {
    id: String,
    name: String,
    place: Place,
    graph: CacheGraph,
}

impl Read {
    fn into_cache<O: Clone + Send + Sync + 'static>(
        self,
        store: &Store,
        wrap: Wrap<O>,
        losses: &Losses,
    ) -> (Cache<O>, Arc<CacheGraph>) {
        let graph = Arc::new(self.graph);
        let results = ImportedResults {
            graph: graph.clone(),
            store: store.clone(),
            place: self.place,
            losses: losses.clone(),
            name: self.name,
            wrap,
        };
        let cache = Cache {
            id: self.id,
            keys: Arc::new(ImportedKeys(graph.clone())),
            results: Arc::new(results),
        };
        (cache, graph)
    }
}

async fn read(
    options: &ImportOptions,
    way: Option<Place>,
    warnings: &mut Vec<String>,
) -> Result<Read, ReadError> {
    let (place, manifest, bytes) = match (options, way) {
        (ImportOptions::Directory { version, .. }, Some(Place::Client(store))) => {
            let manifest = find_remote(&*store, version).await?;
            let place = Place::Client(store);
            let bytes = place.read(&manifest, LIMIT).await?;
            (place, manifest, bytes)
        }
        (ImportOptions::Directory { path, version }, _) => {
            let place = Place::Directory(path.clone());
            let manifest = find(path, version).await?;
            let bytes = place.read(&manifest, LIMIT).await?;
            (place, manifest, bytes)
        }
        (ImportOptions::Registry { reference, .. }, Some(Place::Repository(repository))) => {
            let (manifest, bytes) = pull(&repository, reference).await?;
            (Place::Repository(repository), manifest, bytes)
        }
        (ImportOptions::Store(options), Some(Place::Store(store))) => {
            let stored = stores::read(&store, &options.title(), warnings).await?;
            return Ok(Read {
                id: stored.id,
                name: options.title(),
                place: Place::Store(store),
                graph: stored.graph,
            });
        }
        (ImportOptions::Registry { .. }, _) => return Err("no registry client is set up".into()),
        (ImportOptions::Store(_), _) => return Err("no store is set up".into()),
    };
    let id = format!("{options}:{}", manifest.digest);
    let manifest: Manifest = serde_json::from_slice(&bytes)?;
    let mut graph = CacheGraph::default();
    let reader = Reader {
        place: &place,
        warnings,
    };
    reader.read(&manifest, &mut graph).await?;
    Ok(Read {
        id,
        name: options.to_string(),
        place,
        graph,
    })
}

async fn find(path: &std::path::Path, version: &Version) -> Result<Descriptor, ReadError> {
    let (path, version) = (path.to_owned(), version.clone());
    let work = move || match version {
        Version::Tag(tag) => {
            let found = directory::find_tag(&path, &tag)?;
            found.ok_or_else(|| ReadError::from(format!("no digest found for tag {tag}")))
        }
        Version::Digest(digest) => {
            let blob = directory::blob_path(&path, digest.as_ref());
            let size = std::fs::metadata(&blob)
                .map_err(|error| format!("digest {digest} unavailable: {error}"))?
                .len();
            Ok(Descriptor {
                digest: digest.to_string(),
                size,
                ..Descriptor::default()
            })
        }
    };
    tokio::task::spawn_blocking(work).await?
}

/// The manifest in a client's directory, whose index of tags stays with the client.
async fn find_remote(
    store: &dyn RemoteContent,
    version: &Version,
) -> Result<Descriptor, ReadError> {
    let Version::Digest(digest) = version else {
        return Err("local cache importer requires explicit digest".into());
    };
    let size = store.size(digest).await?;
    let size = size.ok_or_else(|| format!("digest {digest} unavailable"))?;
    Ok(Descriptor {
        digest: digest.to_string(),
        size,
        ..Descriptor::default()
    })
}

async fn pull(
    repository: &Repository,
    reference: &Reference,
) -> Result<(Descriptor, Vec<u8>), ReadError> {
    let descriptor = repository.resolve(reference).await?;
    let bytes = repository.manifest(&descriptor).await?;
    let manifest = Descriptor {
        media_type: descriptor.media_type().to_string(),
        digest: descriptor.digest().to_string(),
        size: descriptor.size(),
        ..Descriptor::default()
    };
    Ok((manifest, bytes.to_vec()))
}
