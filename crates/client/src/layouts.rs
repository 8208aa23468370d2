//! What a client has to do around a build for caches and images in its own
//! directories: lend them, name in them what the daemon wrote, and clear out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use kiln_session::{Delivery, Services};
use serde_json::Value;

use crate::ClientError;
use crate::layout_index::{Layout, Name};
use crate::request::{CacheEntry, SolveRequest};

/// The store that outputs in form of a layout directory are written to.
const EXPORT_STORE: &str = "export";

/// The tag that is meant if none is said.
const LATEST: &str = "latest";

/// What the tag of a cache has behind it where its cache mounts are kept.
const MOUNTS: &str = ".mounts";

/// Tells a daemon, which cannot read tags, which manifest of cache mounts is meant.
const MOUNTS_DIGEST: &str = "mounts.digest";

/// Directories to complete after a build.
#[derive(Debug, Default)]
pub(crate) struct Layouts {
    caches: Vec<Cache>,
    images: Vec<PathBuf>,
}

#[derive(Debug)]
struct Cache {
    directory: PathBuf,
    tag: String,
    /// Blobs that the index does not lead to are removed.
    clears: bool,
    /// Cache mounts are kept beside it.
    has_mounts: bool,
}

/// Lends the directories that a request names.
pub(crate) async fn prepare(
    request: &mut SolveRequest,
    services: &mut Services,
) -> Result<Layouts, ClientError> {
    let mut layouts = Layouts::default();
    for entry in &mut request.cache_exports {
        if entry.kind == "local" {
            let cache = cache_export(entry)?;
            if cache.has_mounts
                && let Some(digest) = find_mounts(&cache.directory, &cache.tag).await?
            {
                entry.attributes.insert(MOUNTS_DIGEST.into(), digest);
            }
            let directory = cache.directory.clone();
            tokio::fs::create_dir_all(&directory)
                .await
                .map_err(file(&directory))?;
            services.stores.insert(store_id(&directory), directory);
            layouts.caches.push(cache);
        }
    }
    lend_imports(request, services).await?;
    lend_images(request, services, &mut layouts).await?;
    Ok(layouts)
}

/// Lends the directories of caches that a request imports.
pub(crate) async fn lend_imports(
    request: &mut SolveRequest,
    services: &mut Services,
) -> Result<(), ClientError> {
    let mut imports = Vec::new();
    for entry in std::mem::take(&mut request.cache_imports) {
        if entry.kind != "local" {
            imports.push(entry);
            continue;
        }
        let directory = required(&entry, "src", "local cache importer requires src")?;
        match find_import(entry).await? {
            Ok(entry) => {
                services.stores.insert(store_id(&directory), directory);
                imports.push(entry);
            }
            // A cache that cannot be read is no failure.
            Err(reason) => tracing::warn!(
                "local cache import at {} skipped: {reason}",
                directory.display()
            ),
        }
    }
    request.cache_imports = imports;
    Ok(())
}

fn store_id(directory: &std::path::Path) -> String {
    format!("local:{}", directory.display())
}

fn required(entry: &CacheEntry, key: &str, message: &str) -> Result<PathBuf, ClientError> {
    let value = entry.attributes.get(key).filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| ClientError::Request(message.into()))?;
    Ok(PathBuf::from(value))
}

fn cache_export(entry: &CacheEntry) -> Result<Cache, ClientError> {
    let attributes = &entry.attributes;
    Ok(Cache {
        directory: required(entry, "dest", "local cache exporter requires dest")?,
        tag: attributes
            .get("tag")
            .map_or(LATEST, String::as_str)
            .to_owned(),
        clears: match attributes.get("reset") {
            Some(value) => flag("reset", value)?,
            None => false,
        },
        has_mounts: match attributes.get("mounts") {
            Some(value) => value.is_empty() || flag("mounts", value)?,
            None => false,
        },
    })
}

/// The manifest of the cache mounts beside a cache, if there is one.
async fn find_mounts(
    directory: &std::path::Path,
    tag: &str,
) -> Result<Option<String>, ClientError> {
    let (directory, tag) = (directory.to_path_buf(), format!("{tag}{MOUNTS}"));
    blocking(move || {
        // What cannot be read was not asked for by name.
        let found = Layout::new(&directory).find(&tag);
        Ok(found.ok().flatten())
    })
    .await
}

/// Flags in Go's spellings.
fn flag(key: &str, value: &str) -> Result<bool, ClientError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(ClientError::Request(format!(
            "failed to parse {key} attribute: {value:?} is neither true nor false"
        ))),
    }
}

/// The import with its digest, or why it cannot be had.
async fn find_import(mut entry: CacheEntry) -> Result<Result<CacheEntry, String>, ClientError> {
    let directory = required(&entry, "src", "local cache importer requires src")?;
    let tag = entry
        .attributes
        .get("tag")
        .map_or(LATEST, String::as_str)
        .to_owned();
    let given = entry
        .attributes
        .get("digest")
        .filter(|digest| !digest.is_empty())
        .cloned();
    if given.is_none() && tag.is_empty() {
        return Err(ClientError::Request(
            "local cache importer requires either explicit digest, \"latest\" tag or custom tag on index.json"
                .into(),
        ));
    }
    if given.is_none()
        && let Some(mounts) = find_mounts(&directory, &tag).await?
    {
        entry.attributes.insert(MOUNTS_DIGEST.into(), mounts);
    }
    let found = blocking(move || {
        let layout = Layout::new(&directory);
        let digest = match given {
            Some(digest) => Ok(digest),
            None => match layout.find(&tag) {
                Ok(Some(digest)) => Ok(digest),
                Ok(None) => Err(format!("no digest found for tag {tag}")),
                Err(error) => Err(error.to_string()),
            },
        };
        Ok(digest.and_then(|digest| match layout.has(&digest) {
            true => Ok(digest),
            false => Err(format!("digest {digest} unavailable")),
        }))
    });
    Ok(found.await?.map(|digest| {
        entry.attributes.insert("digest".into(), digest);
        entry
    }))
}

/// Images that become layout directories are written blob by blob, not as a
/// stream.
async fn lend_images(
    request: &SolveRequest,
    services: &mut Services,
    layouts: &mut Layouts,
) -> Result<(), ClientError> {
    for (number, export) in request.exports.iter().enumerate() {
        let tar = export.attributes.get("tar").map(|value| flag("tar", value));
        let is_archive = tar.transpose()?.unwrap_or(true);
        if is_archive || !matches!(export.kind.as_str(), "oci" | "docker") {
            continue;
        }
        let Some(Delivery::Directory(directory)) = services.exports.remove(&number) else {
            return Err(ClientError::Request(format!(
                "output directory is required for {} exporter with tar=false",
                export.kind
            )));
        };
        tokio::fs::create_dir_all(&directory)
            .await
            .map_err(file(&directory))?;
        if services
            .stores
            .insert(EXPORT_STORE.into(), directory.clone())
            .is_some()
        {
            return Err(ClientError::Request(
                "a daemon writes one output with tar=false in a build; \
                 use two builds, or the engine in this process (--addr embedded:)"
                    .into(),
            ));
        }
        layouts.images.push(directory);
    }
    Ok(())
}

fn file(path: &std::path::Path) -> impl Fn(std::io::Error) -> ClientError {
    let path = path.to_path_buf();
    move |source| ClientError::File {
        path: path.clone(),
        source,
    }
}

impl Layouts {
    /// Names what the daemon wrote, and clears out what nothing refers to.
    pub(crate) async fn finish(
        self,
        response: &BTreeMap<String, String>,
    ) -> Result<(), ClientError> {
        if self.caches.is_empty() && self.images.is_empty() {
            return Ok(());
        }
        let cache = response
            .get("cache.manifest")
            .map(|text| read_json(text.as_bytes()));
        let cache = cache.transpose()?;
        let mounts = response
            .get("cache.mounts.manifest")
            .map(|text| read_json(text.as_bytes()));
        let mounts = mounts.transpose()?;
        let image = response.get("containerimage.descriptor").map(|text| {
            let json = base64::engine::general_purpose::STANDARD.decode(text);
            read_json(&json.map_err(|error| ClientError::Answer(error.to_string()))?)
        });
        let image = image.transpose()?;
        let names = match response.get("image.name") {
            None => vec![Name::Tag(LATEST.into())],
            Some(names) => names
                .split(',')
                .map(|name| Name::Image(name.into()))
                .collect(),
        };
        blocking(move || {
            for directory in &self.images {
                if let Some(image) = &image {
                    Layout::new(directory).put(image, &names)?;
                }
            }
            for entry in &self.caches {
                let layout = Layout::new(&entry.directory);
                if let Some(cache) = &cache {
                    layout.put(cache, &[Name::Tag(entry.tag.clone())])?;
                }
                if let Some(mounts) = mounts.as_ref().filter(|_| entry.has_mounts) {
                    layout.put(mounts, &[Name::Tag(format!("{}{MOUNTS}", entry.tag))])?;
                }
                if entry.clears
                    && let Err(error) = layout.remove_unused()
                {
                    tracing::warn!(%error, "the cache directory was not cleared");
                }
            }
            Ok(())
        })
        .await
    }
}

fn read_json(bytes: &[u8]) -> Result<Value, ClientError> {
    serde_json::from_slice(bytes).map_err(|error| ClientError::Answer(error.to_string()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClientError> + Send + 'static,
) -> Result<T, ClientError> {
    let task = tokio::task::spawn_blocking(work).await;
    task.map_err(|error| ClientError::Answer(error.to_string()))?
}
