//! Images from OCI layout directories.

use std::path::{Path, PathBuf};

use kiln_registry::{Reference, detect_manifest_media_type};
use kiln_session::{LentLayout, RemoteContent, SessionError, content};
use kiln_store::{RecordType, Store};
use oci_spec::image::{Descriptor, Digest, ImageIndex, MediaType};

use super::fetch::PullProgress;
use super::identifier::LayoutIdentifier;
use super::manifest;
use super::origin::{Origin, Place, blob_path};
use super::source::{About, Image, ResolvedImage};
use crate::blocking::blocking;
use crate::error::SourceError;

const MAX_INDEX: u64 = 8 << 20;
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Gives images of OCI layouts. Cheap to clone.
#[derive(Clone)]
pub struct LayoutSource {
    pub(super) store: Store,
}

impl LayoutSource {
    /// Layers are kept in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Digest and config of an image of a layout.
    pub async fn resolve_config(
        &self,
        identifier: &LayoutIdentifier,
        layout: &LentLayout,
    ) -> Result<ResolvedImage, SourceError> {
        let (_, manifest) = self.load(identifier, layout).await?;
        Ok(ResolvedImage {
            reference: identifier
                .reference
                .with_digest(manifest.root.digest().clone()),
            digest: manifest.root.digest().clone(),
            config: manifest.config,
        })
    }

    /// Reads an image's manifests and config out of a layout. Its layers are copied
    /// when they are needed.
    pub async fn open(
        &self,
        identifier: &LayoutIdentifier,
        layout: &LentLayout,
        progress: PullProgress,
    ) -> Result<Image, SourceError> {
        let (origin, manifest) = self.load(identifier, layout).await?;
        let about = About {
            reference: identifier.reference.clone(),
            platform: identifier.platform.clone(),
            record_type: RecordType::Regular,
            layer_limit: identifier.layer_limit,
        };
        Image::new(origin, manifest, about, progress)
    }

    async fn load(
        &self,
        identifier: &LayoutIdentifier,
        layout: &LentLayout,
    ) -> Result<(Origin, manifest::Manifest), SourceError> {
        let reference = identifier.reference.clone();
        let (place, root) = match layout {
            LentLayout::Here(path) => {
                let directory = path.clone();
                let root = blocking(move || find(&directory, &reference)).await?;
                (Place::Layout(path.clone()), root)
            }
            LentLayout::Remote(store) => {
                let root = find_remote(&**store, &reference).await?;
                (Place::Client(store.clone()), root)
            }
        };
        let origin = Origin {
            place,
            store: self.store.clone(),
        };
        let name = identifier.reference.to_string();
        let manifest = manifest::load(&origin, root, &identifier.platform, &name).await?;
        Ok((origin, manifest))
    }
}

/// The descriptor a reference stands for in a layout.
fn find(layout: &Path, reference: &Reference) -> Result<Descriptor, SourceError> {
    match reference.digest() {
        Some(digest) => by_digest(layout, digest),
        None => by_name(layout, reference),
    }
}

/// The same in a client's store, whose index of tags stays with the client.
async fn find_remote(
    store: &dyn RemoteContent,
    reference: &Reference,
) -> Result<Descriptor, SourceError> {
    let path = Path::new(store.name());
    let Some(digest) = reference.digest() else {
        return Err(damaged(
            path,
            format!("reference {reference} must have digest"),
        ));
    };
    let bytes = content::read_blob(store, digest, MAX_INDEX).await;
    let bytes = bytes.map_err(|error| match error {
        SessionError::Refused { message, .. } => {
            damaged(path, format!("manifest {digest}: {message}"))
        }
        other => SourceError::Session(other),
    })?;
    described(path, digest, &bytes)
}

fn by_digest(layout: &Path, digest: &Digest) -> Result<Descriptor, SourceError> {
    let path = blob_path(layout, digest);
    let bytes = read(layout, &path, &format!("manifest {digest}"))?;
    described(layout, digest, &bytes)
}

/// A manifest's descriptor, from what it contains.
fn described(layout: &Path, digest: &Digest, bytes: &[u8]) -> Result<Descriptor, SourceError> {
    let (_, media_type) = detect_manifest_media_type(bytes).map_err(|reason| {
        damaged(
            layout,
            format!("{digest} contains neither an index nor a manifest: {reason}"),
        )
    })?;
    Ok(Descriptor::new(
        MediaType::from(media_type.as_str()),
        bytes.len() as u64,
        digest.clone(),
    ))
}

/// Tags are annotations of the layout's index, in one of several customs: the tag alone,
/// or a whole image name.
fn by_name(layout: &Path, reference: &Reference) -> Result<Descriptor, SourceError> {
    let bytes = read(layout, &layout.join("index.json"), "index.json")?;
    let index: ImageIndex = serde_json::from_slice(&bytes)
        .map_err(|error| damaged(layout, format!("index.json: {error}")))?;
    let tag = reference.tag().unwrap_or("latest");
    let full = [reference.to_string(), reference.familiar()];
    let has_name = |entry: &&Descriptor| {
        let annotations = entry.annotations().as_ref();
        let named = |key: &str| annotations.and_then(|all| all.get(key)).map(String::as_str);
        named(REF_NAME) == Some(tag)
            || [REF_NAME, CONTAINERD_NAME]
                .into_iter()
                .filter_map(named)
                .any(|name| full.iter().any(|full| full == name))
    };
    let mut found = index.manifests().iter().filter(has_name);
    match (found.next(), index.manifests().as_slice()) {
        (Some(entry), _) => Ok(entry.clone()),
        // A layout of one image often names nothing.
        (None, [only])
            if tag == "latest"
                && only
                    .annotations()
                    .as_ref()
                    .is_none_or(|all| !all.contains_key(REF_NAME)) =>
        {
            Ok(only.clone())
        }
        (None, all) => {
            let tags = all
                .iter()
                .filter_map(|entry| entry.annotations().as_ref()?.get(REF_NAME).cloned());
            let tags = tags.collect::<Vec<_>>().join(", ");
            let tags = if tags.is_empty() {
                "none".to_owned()
            } else {
                tags
            };
            Err(damaged(
                layout,
                format!("no image is tagged {tag:?}; its tags: {tags}"),
            ))
        }
    }
}

fn read(layout: &Path, path: &PathBuf, what: &str) -> Result<Vec<u8>, SourceError> {
    use std::io::Read as _;
    let unreadable = |error: std::io::Error| damaged(layout, format!("{what}: {error}"));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_INDEX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_INDEX {
        return Err(damaged(
            layout,
            format!("{what} is larger than {MAX_INDEX} bytes"),
        ));
    }
    Ok(bytes)
}

fn damaged(layout: &Path, reason: String) -> SourceError {
    SourceError::Layout {
        path: layout.to_owned(),
        reason,
    }
}
