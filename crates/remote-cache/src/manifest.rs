//! Reading a cache that has a manifest.

use crate::config::{self, CacheConfig, Layer};
use crate::graph::CacheGraph;
use crate::image::Image;
use crate::model::{Descriptor, Manifest};
use crate::parse::{add_records, usable_blobs};
use crate::place::{LIMIT, Place, ReadError};

/// How many images of an index are searched for inline caches.
const MOST_IMAGES: usize = 64;

/// Reads what a manifest leads to.
pub(crate) struct Reader<'a> {
    pub(crate) place: &'a Place,
    pub(crate) warnings: &'a mut Vec<String>,
}

impl Reader<'_> {
    /// A cache has its config in the place of an image's, or among the entries of an index. Everything else is an image,
    /// or several, which may have caches in their configs.
    pub(crate) async fn read(
        self,
        manifest: &Manifest,
        graph: &mut CacheGraph,
    ) -> Result<(), ReadError> {
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
        let Some(records) = image.records()? else {
            return Ok(false);
        };
        if image.rootfs.diff_ids.len() != layers.len() {
            return Err("invalid image with mismatching manifest and config".into());
        }
        let listed = image.describe(layers);
        let layers = listed.iter().enumerate();
        let layers = layers.map(|(index, layer)| Layer {
            blob: layer.digest.clone(),
            parent: index as i64 - 1,
            annotations: None,
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
            Self::Store(_) => return Err("a store has no manifests".into()),
        };
        Ok(serde_json::from_slice(&bytes)?)
    }
}
