//! From the solver's records to a cache config and its manifest. Pure: no files, no network.

use std::collections::{BTreeMap, HashMap};

use kiln_solver::ExportRecord;
use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};

use crate::CacheLayer;
use crate::config::{self, CacheConfig, Created, Input, Layer, LayerResult, Record};
use crate::model::{self, Descriptor, Manifest};

/// The form of a cache's manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// An image manifest whose layers are the blobs and whose config is the cache config.
    #[default]
    ImageManifest,
    /// An OCI index that lists the blobs and the cache config.
    OciIndex,
    /// The same as Docker's manifest list.
    DockerList,
}

/// A cache that is ready to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct BuiltCache {
    /// The cache config.
    pub config: Vec<u8>,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The blobs of the layers, each once.
    pub blobs: Vec<oci_spec::image::Descriptor>,
    /// Describes the config.
    pub config_descriptor: oci_spec::image::Descriptor,
    /// Describes the manifest.
    pub manifest_descriptor: oci_spec::image::Descriptor,
}

/// Why a cache could not be put into words.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A record that refers to one that does not exist.
    #[error("cache record {record} refers to record {link}, which does not exist")]
    Link {
        /// The record.
        record: usize,
        /// What it refers to.
        link: usize,
    },
    /// A blob whose descriptor cannot be read back.
    #[error("cache layer: {0}")]
    Descriptor(#[from] oci_spec::OciSpecError),
    /// The JSON could not be written.
    #[error("write the cache config: {0}")]
    Json(#[from] serde_json::Error),
}

impl BuiltCache {
    /// Puts records into words. Of each the newest result is taken whose layers are all `available`; `None` if no record
    /// has one, because such a cache is of no use.
    pub fn new(
        records: &[ExportRecord<Vec<CacheLayer>>],
        format: Format,
        available: impl Fn(&Digest) -> bool,
    ) -> Result<Option<Self>, BuildError> {
        let (config, blobs) = config(records, available)?;
        if config.layers.is_empty() {
            return Ok(None);
        }
        let config_bytes = model::encode(&config)?;
        let config_descriptor = describe(config::MEDIA_TYPE, &config_bytes);
        let listed = config
            .layers
            .iter()
            .filter_map(|layer| blobs.get(&layer.blob))
            .map(|blob| Descriptor {
                media_type: model::layer_media_type(&blob.media_type, format),
                ..blob.clone()
            });
        let mut listed: Vec<_> = listed.collect();
        let mut manifest = Manifest {
            schema_version: 2,
            ..Manifest::default()
        };
        match format {
            Format::ImageManifest => {
                manifest.media_type = model::OCI_MANIFEST.into();
                manifest.config = Some(config_descriptor.clone());
                manifest.layers = Some(listed);
            }
            Format::OciIndex | Format::DockerList => {
                let docker = format == Format::DockerList;
                manifest.media_type = if docker {
                    model::DOCKER_LIST
                } else {
                    model::OCI_INDEX
                }
                .into();
                listed.push(config_descriptor.clone());
                manifest.manifests = Some(listed);
            }
        }
        let manifest_bytes = model::encode(&manifest)?;
        Ok(Some(Self {
            config_descriptor: config_descriptor.to_oci()?,
            manifest_descriptor: describe(&manifest.media_type, &manifest_bytes).to_oci()?,
            blobs: blobs
                .values()
                .map(Descriptor::to_oci)
                .collect::<Result<_, _>>()?,
            config: config_bytes,
            manifest: manifest_bytes,
        }))
    }

    /// The descriptor of the manifest, in JSON: what clients are told as `cache.manifest`.
    pub fn descriptor_json(&self) -> Result<String, BuildError> {
        Ok(String::from_utf8_lossy(&model::encode(&Descriptor::from(
            &self.manifest_descriptor,
        ))?)
        .into_owned())
    }
}

pub(crate) fn describe(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: format!("sha256:{}", hex::encode(Sha256::digest(bytes))),
        size: bytes.len() as u64,
        ..Descriptor::default()
    }
}

/// The config, sorted so that equal records give equal bytes, and the descriptors of its blobs.
pub(crate) fn config(
    records: &[ExportRecord<Vec<CacheLayer>>],
    available: impl Fn(&Digest) -> bool,
) -> Result<(CacheConfig, BTreeMap<String, Descriptor>), BuildError> {
    let mut layers = Layers::default();
    let mut unsorted = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        let usable = |layers: &&Vec<CacheLayer>| {
            !layers.is_empty()
                && layers
                    .iter()
                    .all(|layer| available(layer.descriptor.digest()))
        };
        let result = record.results.iter().find(|result| usable(&&result.remote));
        let results = result.map(|result| LayerResult {
            layer: layers.add(&result.remote) as i64,
            created_at: Created::from(result.created),
        });
        let mut inputs = Vec::with_capacity(record.inputs.len());
        for links in &record.inputs {
            let mut sorted = Vec::with_capacity(links.len());
            for link in links {
                let target = records.get(link.record).ok_or(BuildError::Link {
                    record: index,
                    link: link.record,
                })?;
                sorted.push((target.digest.as_ref(), link.selector.as_str(), link.record));
            }
            sorted.sort_unstable();
            inputs.push(sorted);
        }
        unsorted.push((record.digest.as_ref(), inputs, results));
    }
    let (layers, new_layer, blobs) = layers.sorted();
    let order = order(&unsorted);
    let mut new_record = vec![0; order.len()];
    for (new, old) in order.iter().enumerate() {
        new_record[*old] = new as i64;
    }
    let sorted = order.iter().map(|old| {
        let (digest, inputs, result) = &unsorted[*old];
        let inputs = inputs.iter().map(|links| {
            let mut links: Vec<_> = links
                .iter()
                .map(|(_, selector, link)| Input {
                    selector: (*selector).to_owned(),
                    link: new_record[*link],
                })
                .collect();
            links.sort_by(|one, other| {
                (one.link, &one.selector).cmp(&(other.link, &other.selector))
            });
            links
        });
        let results = result.iter().map(|result| LayerResult {
            layer: new_layer[usize::try_from(result.layer).unwrap_or_default()],
            ..result.clone()
        });
        Record {
            results: results.collect(),
            chains: Vec::new(),
            digest: (*digest).to_owned(),
            inputs: inputs.collect(),
        }
    });
    Ok((
        CacheConfig {
            layers,
            records: sorted.collect(),
        },
        blobs,
    ))
}

/// A record that is not in its place yet: digest, links as (digest, selector, old index), result.
type Unsorted<'a> = (
    &'a str,
    Vec<Vec<(&'a str, &'a str, usize)>>,
    Option<LayerResult>,
);

/// The old indexes in their new order: by digest, then by what can be told of the inputs without their place.
fn order(records: &[Unsorted<'_>]) -> Vec<usize> {
    let key = |index: &usize| {
        let (digest, inputs, _) = &records[*index];
        let inputs: Vec<_> = inputs
            .iter()
            .map(|links| {
                let links: Vec<_> = links
                    .iter()
                    .map(|(digest, selector, _)| (*selector, *digest))
                    .collect();
                (links.len(), links)
            })
            .collect();
        (*digest, inputs.len(), inputs)
    };
    let mut order: Vec<_> = (0..records.len()).collect();
    order.sort_by_cached_key(|index| key(index));
    order
}

/// Layers as they are collected: each blob on each thing it lies on once.
#[derive(Default)]
struct Layers {
    layers: Vec<Layer>,
    known: HashMap<(i64, String), usize>,
    blobs: BTreeMap<String, Descriptor>,
}

impl Layers {
    /// Adds a result's layers and answers the index of the topmost.
    fn add(&mut self, result: &[CacheLayer]) -> usize {
        let mut parent = -1;
        for layer in result {
            let descriptor = describe_layer(layer);
            let blob = descriptor.digest.clone();
            self.blobs.entry(blob.clone()).or_insert(descriptor);
            let layers = &mut self.layers;
            let index = *self.known.entry((parent, blob.clone())).or_insert_with(|| {
                layers.push(Layer {
                    blob,
                    parent,
                    annotations: None,
                });
                layers.len() - 1
            });
            parent = index as i64;
        }
        usize::try_from(parent).unwrap_or_default()
    }

    /// The layers sorted by blob and then by what they lie on, and the new index of each.
    fn sorted(self) -> (Vec<Layer>, Vec<i64>, BTreeMap<String, Descriptor>) {
        let mut order: Vec<_> = (0..self.layers.len()).collect();
        order.sort_by_cached_key(|index| self.chain(*index));
        let mut new = vec![-1; self.layers.len()];
        for (place, old) in order.iter().enumerate() {
            new[*old] = place as i64;
        }
        let moved = |layer: &Layer| Layer {
            blob: layer.blob.clone(),
            parent: usize::try_from(layer.parent).map_or(-1, |parent| new[parent]),
            annotations: None,
        };
        let sorted = order.iter().map(|old| moved(&self.layers[*old])).collect();
        (sorted, new, self.blobs)
    }

    /// The blobs from a layer down to the bottom.
    fn chain(&self, index: usize) -> Vec<&str> {
        let mut chain = Vec::new();
        let mut next = Some(index);
        while let Some(layer) = next.and_then(|index| self.layers.get(index)) {
            chain.push(layer.blob.as_str());
            next = usize::try_from(layer.parent).ok();
        }
        chain
    }
}

/// The descriptor of a layer as caches list it: in OCI's media types, with what is needed to use it.
fn describe_layer(layer: &CacheLayer) -> Descriptor {
    let from = &layer.descriptor;
    let mut annotations: BTreeMap<_, _> = from
        .annotations()
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect();
    annotations.retain(|key, _| !key.starts_with("containerd.io/distribution.source."));
    annotations.insert(model::UNCOMPRESSED.into(), layer.diff_id.to_string());
    if let Some(created) = layer.created {
        annotations.insert(model::CREATED_AT.into(), Created::from(created).0);
    }
    Descriptor {
        media_type: model::layer_media_type(from.media_type().as_ref(), Format::ImageManifest),
        digest: from.digest().to_string(),
        size: from.size(),
        annotations: Some(annotations),
        platform: None,
    }
}
