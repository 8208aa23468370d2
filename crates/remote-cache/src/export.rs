//! Writing a cache to where it is wanted.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use bytes::Bytes;
use futures::future::try_join_all;
use kiln_registry::{BlobData, PushTarget, Reference, RegistryError, Repository};
use kiln_session::{RemoteContent, SessionError, content};
use kiln_solver::ExportRecord;
use kiln_store::ContentStore;
use oci_spec::image::Digest;

use crate::CacheLayer;
use crate::build::{BuildError, BuiltCache};
use crate::directory::{self, DirectoryError};
use crate::options::{Destination, ExportOptions};
use crate::place::Place;
use crate::stored::StoredCache;
use crate::stores::{self, StoreError};

/// What the client is told of an exported cache.
const MANIFEST_KEY: &str = "cache.manifest";

/// A cache that was exported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exported {
    /// Keys for the client: `cache.manifest`, the manifest's descriptor in JSON. Empty if there was nothing to export.
    pub response: BTreeMap<String, String>,
    /// What the user should know and that did not fail the export.
    pub warnings: Vec<String>,
}

/// Why a cache could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The records could not be put into words.
    #[error("export cache: {0}")]
    Build(#[from] BuildError),
    /// The directory could not be written.
    #[error("export cache: {0}")]
    Directory(#[from] DirectoryError),
    /// The client would not take it.
    #[error("export cache: {0}")]
    Client(#[from] SessionError),
    /// A blob of ours cannot be read.
    #[error("export cache: {0}")]
    Content(#[from] kiln_store::content::ContentError),
    /// The registry refused.
    #[error("export cache to {reference}: {source}")]
    Registry {
        /// Where to.
        reference: String,
        /// Why.
        source: Box<RegistryError>,
    },
    /// The store refused, or could not be reached.
    #[error("export cache: {0}")]
    Store(#[from] StoreError),
    /// A store is wanted and none was given.
    #[error("export cache to {0}: no store is set up")]
    NoStore(String),
    /// A registry is wanted and none was given.
    #[error("export cache to {0}: no registry client is set up")]
    NoRegistry(String),
    /// The thread that wrote the cache has ended unexpectedly.
    #[error("export cache: the work ended unexpectedly")]
    Ended,
}

/// Writes a cache of these records, whose blobs are in `content`; results with a blob that is missing are left out. For
/// a registry, `way` is the repository to push to; for a store, that; for a directory, it is the client that has it, if
/// that is not this machine. An inline cache is not written here: see
/// [`inline_records`](crate::inline_records).
pub async fn export(
    records: &[ExportRecord<Vec<CacheLayer>>],
    options: &ExportOptions,
    content: &ContentStore,
    way: Option<&Place>,
) -> Result<Exported, ExportError> {
    if options.destination == Destination::Inline {
        return Ok(Exported::default());
    }
    let available = available(records, content);
    let usable = |digest: &Digest| available.contains(digest);
    if let Destination::Store(store) = &options.destination {
        let Some(Place::Store(way)) = way else {
            return Err(ExportError::NoStore(store.title()));
        };
        let Some(cache) = StoredCache::new(records, usable)? else {
            return Ok(nothing());
        };
        stores::send(&*way.0, cache, content).await?;
        return Ok(Exported::default());
    }
    let Some(cache) = BuiltCache::new(records, options.format, usable)? else {
        return Ok(nothing());
    };
    let response = BTreeMap::from([(MANIFEST_KEY.to_owned(), cache.descriptor_json()?)]);
    let mut exported = Exported {
        response,
        warnings: Vec::new(),
    };
    match (&options.destination, way) {
        (Destination::Inline | Destination::Store(_), _) => {}
        // Tags and clearing out are for the client itself.
        (Destination::Directory { .. }, Some(Place::Client(store))) => {
            send(&**store, &cache, content).await?;
        }
        (Destination::Directory { path, tag, reset }, _) => {
            let warning = write_directory(path, tag, *reset, cache, content).await?;
            exported.warnings.extend(warning);
        }
        (Destination::Registry { reference, .. }, way) => {
            let Some(Place::Repository(repository)) = way else {
                return Err(ExportError::NoRegistry(reference.to_string()));
            };
            push(repository, reference, &cache, content)
                .await
                .map_err(|source| ExportError::Registry {
                    reference: reference.to_string(),
                    source,
                })?;
        }
    }
    Ok(exported)
}

fn nothing() -> Exported {
    let warning = "skipping cache export for empty result: no cached step has layers".to_owned();
    Exported {
        warnings: vec![warning],
        ..Exported::default()
    }
}

/// The blobs that are here. Each is looked up once, however many results share it.
fn available(records: &[ExportRecord<Vec<CacheLayer>>], content: &ContentStore) -> HashSet<Digest> {
    let results = records.iter().flat_map(|record| &record.results);
    let layers = results.flat_map(|result| &result.remote);
    let digests: HashSet<_> = layers.map(|layer| layer.descriptor.digest()).collect();
    let present = digests
        .into_iter()
        .filter(|digest| content.exists(digest).unwrap_or(false));
    present.cloned().collect()
}

async fn write_directory(
    path: &Path,
    tag: &str,
    reset: bool,
    cache: BuiltCache,
    content: &ContentStore,
) -> Result<Option<String>, ExportError> {
    let (path, tag, content) = (path.to_owned(), tag.to_owned(), content.clone());
    let work = move || {
        directory::write(&path, &tag, &cache, &content)?;
        let cleaned = if reset {
            directory::reset(&path)
        } else {
            Ok(())
        };
        Ok(cleaned
            .err()
            .map(|error| format!("failed to reset cache store: {error}")))
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ExportError::Ended)?
}

/// Gives the blobs to a client, then config and manifest.
async fn send(
    store: &dyn RemoteContent,
    cache: &BuiltCache,
    content: &ContentStore,
) -> Result<(), ExportError> {
    for blob in &cache.blobs {
        let file = content.open(blob.digest())?;
        let data = content::stream_of_file(file);
        store.write(blob.digest(), blob.size(), data).await?;
    }
    for (descriptor, bytes) in [
        (&cache.config_descriptor, &cache.config),
        (&cache.manifest_descriptor, &cache.manifest),
    ] {
        let data = content::stream_of_bytes(Bytes::copy_from_slice(bytes));
        store
            .write(descriptor.digest(), descriptor.size(), data)
            .await?;
    }
    Ok(())
}

/// Pushes the blobs side by side, then the manifest under its tag.
async fn push(
    repository: &Repository,
    reference: &Reference,
    cache: &BuiltCache,
    content: &ContentStore,
) -> Result<(), Box<RegistryError>> {
    let each = cache.blobs.iter().cloned().map(|blob| async move {
        let data = BlobData::stored(content, blob.digest());
        let pushed = repository.push_blob(&blob, data).await;
        pushed.map_err(Box::new)
    });
    try_join_all(each).await?;
    let config = BlobData::Bytes(Bytes::from(cache.config.clone()));
    repository
        .push_blob(&cache.config_descriptor, config)
        .await?;
    let target = reference
        .tag()
        .map_or(PushTarget::Digest, |tag| PushTarget::Tag(tag.to_owned()));
    let manifest = Bytes::from(cache.manifest.clone());
    repository
        .push_manifest(&cache.manifest_descriptor, manifest, &target)
        .await?;
    Ok(())
}
