//! Names for blobs: images that the store itself keeps.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use oci_spec::image::{Descriptor, Digest};
use rusqlite::OptionalExtension;
use serde::Deserialize;

use crate::content::ContentStore;
use crate::refs::record::{from_nanoseconds, nanoseconds};
use crate::store::{Core, Store, StoreError};

/// Manifests and indexes are read up to this size, as registries accept them.
const MAX_MANIFEST: u64 = 16 << 20;

/// More manifests, configs and attestations than any image has.
const MAX_METADATA: usize = 4096;

/// A named image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its full name, `docker.io/library/alpine:latest`.
    pub name: String,
    /// Its index or manifest.
    pub target: Descriptor,
    /// When the name was last set.
    pub updated: SystemTime,
}

impl Store {
    /// Names an image. Its manifests and all they refer to are kept until the name is removed or moved on.
    pub fn set_image(&self, name: &str, target: &Descriptor) -> Result<(), StoreError> {
        let text = serde_json::to_string(target).unwrap_or_default();
        self.database().transact(|transaction| {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO images (name, descriptor, updated) VALUES (?1, ?2, ?3)",
                )?
                .execute((name, text, nanoseconds(SystemTime::now())))
        })?;
        Ok(())
    }

    /// The image of this name.
    pub fn image(&self, name: &str) -> Result<Option<Image>, StoreError> {
        let row = self.database().query(|connection| {
            connection
                .prepare_cached("SELECT name, descriptor, updated FROM images WHERE name = ?1")?
                .query_row([name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()
        })?;
        Ok(row.and_then(image))
    }

    /// All named images, by name.
    pub fn images(&self) -> Result<Vec<Image>, StoreError> {
        self.core().images()
    }

    /// Forgets a name. Whether there was one.
    pub fn remove_image(&self, name: &str) -> Result<bool, StoreError> {
        let count = self.database().transact(|transaction| {
            transaction
                .prepare_cached("DELETE FROM images WHERE name = ?1")?
                .execute([name])
        })?;
        Ok(count > 0)
    }
}

impl Core {
    fn images(&self) -> Result<Vec<Image>, StoreError> {
        let rows = self.database.query(|connection| {
            let mut query = connection
                .prepare_cached("SELECT name, descriptor, updated FROM images ORDER BY name")?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(rows.into_iter().filter_map(image).collect())
    }

    /// The digests of everything that named images consist of.
    pub(crate) fn image_blobs(&self) -> Result<HashSet<String>, StoreError> {
        let mut parts = Parts::default();
        for image in self.images()? {
            parts.collect(&self.content, image.target.digest().clone());
        }
        Ok(parts.all)
    }

    /// Forgets the names of images of which a layer is no ref's any more: their blobs would never go.
    pub(crate) fn forget_broken_images(&self) -> Result<(), StoreError> {
        let images = self.images()?;
        let owned = self.database.query(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT digest FROM ref_blobs UNION SELECT digest FROM ref_attachments",
            )?;
            let digests = query.query_map([], |row| row.get(0))?;
            digests.collect::<rusqlite::Result<HashSet<String>>>()
        })?;
        for image in images {
            let mut parts = Parts::default();
            parts.collect(&self.content, image.target.digest().clone());
            if !parts.layers.is_subset(&owned) {
                self.database.transact(|transaction| {
                    transaction
                        .prepare_cached("DELETE FROM images WHERE name = ?1 AND updated = ?2")?
                        .execute((&image.name, nanoseconds(image.updated)))
                })?;
            }
        }
        Ok(())
    }
}

fn image((name, text, updated): (String, String, i64)) -> Option<Image> {
    let target = serde_json::from_str(&text).ok()?;
    Some(Image {
        name,
        target,
        updated: from_nanoseconds(updated),
    })
}

/// What any manifest or index may refer to. Lists without entries may be `null`.
#[derive(Deserialize)]
struct References {
    config: Option<Reference>,
    layers: Option<Vec<Reference>>,
    manifests: Option<Vec<Reference>>,
}

#[derive(Deserialize)]
struct Reference {
    digest: Digest,
    #[serde(default, rename = "mediaType")]
    media_type: String,
    #[serde(flatten)]
    _others: HashMap<String, serde::de::IgnoredAny>,
}

impl Store {
    /// What there is to know of an image without its layers: the digests of its index, manifests, configs and
    /// attestations, as far as they are here; none if the root is not.
    pub fn metadata_blobs(&self, root: &Digest) -> Vec<String> {
        let content = self.content();
        let mut found = Vec::new();
        let mut pending = vec![root.clone()];
        while let Some(digest) = pending.pop() {
            if found.len() > MAX_METADATA || found.iter().any(|known| known == digest.as_ref()) {
                continue;
            }
            let Ok(bytes) = content.read(&digest, MAX_MANIFEST) else {
                continue;
            };
            found.push(digest.to_string());
            let Ok(references) = serde_json::from_slice::<References>(&bytes) else {
                continue;
            };
            let attestations = references
                .layers
                .into_iter()
                .flatten()
                .filter(|layer| layer.media_type.contains("in-toto"));
            let manifests = references.manifests.into_iter().flatten();
            let others = references.config.into_iter().chain(manifests);
            pending.extend(attestations.chain(others).map(|reference| reference.digest));
        }
        found
    }
}

/// Digests of what images consist of.
#[derive(Default)]
struct Parts {
    all: HashSet<String>,
    /// Those of layers of files; what is said of images are layers, too, but no ref has them.
    layers: HashSet<String>,
}

impl Parts {
    /// Adds `root` and all below it. What is not here cannot be removed either, so it is passed over.
    fn collect(&mut self, content: &ContentStore, root: Digest) {
        let mut pending = vec![root];
        while let Some(digest) = pending.pop() {
            if !self.all.insert(digest.to_string()) {
                continue;
            }
            let Ok(bytes) = content.read(&digest, MAX_MANIFEST) else {
                continue;
            };
            let Ok(references) = serde_json::from_slice::<References>(&bytes) else {
                continue;
            };
            let layers = references.layers.unwrap_or_default();
            let of_files = layers
                .iter()
                .filter(|it| !it.media_type.contains("in-toto"));
            self.layers.extend(of_files.map(|it| it.digest.to_string()));
            let leaves = references.config.into_iter().chain(layers);
            let (nested, leaves): (Vec<Reference>, Vec<Reference>) = leaves
                .chain(references.manifests.into_iter().flatten())
                .partition(|reference| is_manifest(&reference.media_type));
            self.all
                .extend(leaves.into_iter().map(|it| it.digest.to_string()));
            pending.extend(nested.into_iter().map(|reference| reference.digest));
        }
    }
}

fn is_manifest(media_type: &str) -> bool {
    ["image.index", "image.manifest", "distribution.manifest"]
        .iter()
        .any(|part| media_type.contains(part))
}
