//! Reading a cache.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kiln_registry::{Reference, Repository};
use kiln_session::RemoteContent;
use kiln_solver::Cache;
use kiln_store::{Ref, Store};
use serde::Deserialize;

use crate::config::{self, CacheConfig, Layer, Record};
use crate::directory;
use crate::graph::CacheGraph;
use crate::keys::ImportedKeys;
use crate::model::{CREATED_AT, Descriptor, Manifest, UNCOMPRESSED};
use crate::options::{ImportOptions, Version};
use crate::parse::{add_records, usable_blobs};
use crate::place::{Place, PlaceFetch, ReadError};
use crate::results::{ImportedResults, Wrap};

/// Manifests and configs are read as a whole.
const LIMIT: u64 = 32 << 20;
/// How many images of an index are searched for inline caches.
const MOST_IMAGES: usize = 64;

/// What came of an import.
pub struct Imported<O> {
    /// The cache, unless nothing of it could be used.
    pub cache: Option<Cache<O>>,
    /// What was wrong. An import never fails a build.
    pub warnings: Vec<String>,
}

/// Reads a cache. For a registry, `way` is the repository to pull from; for a directory, it is the client that has it,
/// if that is not this machine. Layers are fetched when their files are needed; `wrap` makes the engine's output of a
/// result's ref.
pub async fn import<O: Clone + Send + Sync + 'static>(
    options: &ImportOptions,
    store: &Store,
    way: Option<Place>,
    wrap: impl Fn(Ref) -> O + Send + Sync + 'static,
) -> Imported<O> {
    let mut warnings = Vec::new();
    let wrap: Wrap<O> = Arc::new(wrap);
    let cache = match read(options, way, &mut warnings).await {
        Ok(read) => Some(read.into_cache(store, wrap)),
        Err(error) => {
            warnings.push(format!(
                "cache import from {} skipped: {error}",
                name(options)
            ));
            None
        }
    };
    Imported { cache, warnings }
}

fn name(options: &ImportOptions) -> String {
    match options {
        ImportOptions::Directory { path, .. } => path.display().to_string(),
        ImportOptions::Registry { reference, .. } => reference.to_string(),
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
    ) -> Cache<O> {
        let graph = Arc::new(self.graph);
        let fetch = PlaceFetch::shared(&self.place, store.content());
        let results = ImportedResults {
            graph: graph.clone(),
            store: store.clone(),
            place: self.place,
            fetch,
            name: self.name,
            wrap,
        };
        Cache {
            id: self.id,
            keys: Arc::new(ImportedKeys(graph)),
            results: Arc::new(results),
        }
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
        (ImportOptions::Registry { .. }, _) => return Err("no registry client is set up".into()),
    };
    let id = format!("{}:{}", name(options), manifest.digest);
    let manifest: Manifest = serde_json::from_slice(&bytes)?;
    let mut graph = CacheGraph::default();
    let reader = Reader {
        place: &place,
        warnings,
    };
    reader.read(&manifest, &mut graph).await?;
    Ok(Read {
        id,
        name: name(options),
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

/// Reads what a manifest leads to.
struct Reader<'a> {
    place: &'a Place,
    warnings: &'a mut Vec<String>,
}

impl Reader<'_> {
    /// A cache has its config in the place of an image's, or among the entries of an index. Everything else is an image,
    /// or several, which may have caches in their configs.
    async fn read(self, manifest: &Manifest, graph: &mut CacheGraph) -> Result<(), ReadError> {
        let entries = manifest
            .manifests
            .as_deref()
            .or(manifest.layers.as_deref())
            .unwrap_or_default();
        let is_config = |descriptor: &&Descriptor| descriptor.media_type == config::MEDIA_TYPE;
        let found = manifest
            .config
            .as_ref()
            .filter(is_config)
            .or_else(|| entries.iter().find(is_config));
        let Some(found) = found else {
            return self.read_images(manifest, graph).await;
        };
        let config: CacheConfig = serde_json::from_slice(&self.place.read(found, LIMIT).await?)?;
        let layers: Vec<_> = entries
            .iter()
            .filter(|entry| !is_config(entry))
            .cloned()
            .collect();
        let blobs = usable_blobs(&layers, self.warnings);
        add_records(&config, &blobs, graph)?;
        Ok(())
    }

    async fn read_images(
        mut self,
        manifest: &Manifest,
        graph: &mut CacheGraph,
    ) -> Result<(), ReadError> {
        let mut found = false;
        match &manifest.manifests {
            None => found |= self.read_image(manifest, graph).await?,
            Some(entries) => {
                for entry in entries.iter().take(MOST_IMAGES) {
                    let image = self.place.read_manifest(entry).await;
                    let outcome = match image {
                        Ok(image) => self.read_image(&image, graph).await,
                        Err(error) => Err(error),
                    };
                    match outcome {
                        Ok(has_cache) => found |= has_cache,
                        Err(error) => self
                            .warnings
                            .push(format!("inline cache of {} skipped: {error}", entry.digest)),
                    }
                }
            }
        }
        match found {
            true => Ok(()),
            false => Err("it is neither a cache nor an image with an inline cache".into()),
        }
    }

    /// Reads the inline cache of an image; whether there is one.
    async fn read_image(
        &mut self,
        manifest: &Manifest,
        graph: &mut CacheGraph,
    ) -> Result<bool, ReadError> {
        let (Some(config), Some(layers)) = (&manifest.config, &manifest.layers) else {
            return Ok(false);
        };
        let image: Image = serde_json::from_slice(&self.place.read(config, LIMIT).await?)?;
        let Some(records) = &image.cache else {
            return Ok(false);
        };
        let records: Vec<Record> = serde_json::from_slice(&BASE64.decode(records)?)?;
        if image.rootfs.diff_ids.len() != layers.len() {
            return Err("invalid image with mismatching manifest and config".into());
        }
        let listed = image.describe(layers);
        let layers = listed.iter().enumerate();
        let layers = layers.map(|(index, layer)| Layer {
            blob: layer.digest.clone(),
            parent: index as i64 - 1,
        });
        let config = CacheConfig {
            layers: layers.collect(),
            records,
        };
        add_records(&config, &usable_blobs(&listed, self.warnings), graph)?;
        Ok(true)
    }
}

impl Place {
    async fn read_manifest(&self, descriptor: &Descriptor) -> Result<Manifest, ReadError> {
        let bytes = match self {
            Self::Directory(_) | Self::Client(_) => self.read(descriptor, LIMIT).await?,
            Self::Repository(repository) => {
                repository.manifest(&descriptor.to_oci()?).await?.to_vec()
            }
        };
        Ok(serde_json::from_slice(&bytes)?)
    }
}

/// What matters of an image config.
#[derive(Deserialize)]
struct Image {
    #[serde(default)]
    rootfs: RootFs,
    #[serde(default, rename = "moby.buildkit.cache.v0")]
    cache: Option<String>,
    #[serde(default)]
    history: Option<Vec<History>>,
}

#[derive(Default, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

#[derive(Deserialize)]
struct History {
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    created_by: String,
    #[serde(default)]
    empty_layer: bool,
}

impl Image {
    /// The manifest's layers with what the config knows of them.
    fn describe(&self, layers: &[Descriptor]) -> Vec<Descriptor> {
        let mut history = self
            .history
            .iter()
            .flatten()
            .filter(|entry| !entry.empty_layer);
        let describe = |(layer, diff_id): (&Descriptor, &String)| {
            let mut annotations = layer.annotations.clone().unwrap_or_default();
            annotations.insert(UNCOMPRESSED.into(), diff_id.clone());
            if let Some(entry) = history.next() {
                annotations.extend(
                    entry
                        .created
                        .clone()
                        .map(|created| (CREATED_AT.to_owned(), created)),
                );
                if !entry.created_by.is_empty() {
                    annotations.insert("buildkit/description".into(), entry.created_by.clone());
                }
            }
            Descriptor {
                annotations: Some(annotations),
                ..layer.clone()
            }
        };
        layers
            .iter()
            .zip(&self.rootfs.diff_ids)
            .map(describe)
            .collect()
    }
}
