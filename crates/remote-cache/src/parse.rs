//! From a cache config to a graph, not trusting a word of it.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use kiln_solver::Link;
use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};

use crate::CacheLayer;
use crate::config::{CacheConfig, Record};
use crate::graph::{CacheGraph, Stack};
use crate::model::{CREATED_AT, Descriptor, UNCOMPRESSED};

/// More layers than any file system stacks.
const MOST_LAYERS: usize = 1024;

/// What makes a cache unusable as a whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("invalid record ID: {0}")]
    RecordIndex(i64),
    #[error("invalid layer index {0}")]
    LayerIndex(i64),
    #[error("invalid looping record")]
    RecordLoop,
    #[error("invalid looping layer")]
    LayerLoop,
    #[error("invalid empty input for record {0}")]
    EmptyInput(usize),
    #[error("record {0} has an invalid digest {1:?}")]
    RecordDigest(usize, String),
    #[error("record {0} has an invalid selector {1:?}")]
    Selector(usize, String),
}

/// Blobs by digest, each with what is needed to use it as a layer.
pub(crate) type Blobs = HashMap<String, CacheLayer>;

/// The layers of a manifest that can be used; the others are explained in `warnings`.
pub(crate) fn usable_blobs(listed: &[Descriptor], warnings: &mut Vec<String>) -> Blobs {
    let mut blobs = Blobs::new();
    for descriptor in listed {
        match layer(descriptor) {
            Ok(layer) => {
                blobs.insert(descriptor.digest.clone(), layer);
            }
            Err(reason) => warnings.push(format!(
                "cache layer {} cannot be used: {reason}",
                descriptor.digest
            )),
        }
    }
    blobs
}

fn layer(descriptor: &Descriptor) -> Result<CacheLayer, String> {
    let diff_id = descriptor
        .annotation(UNCOMPRESSED)
        .ok_or("the digest of its content is missing")?;
    let created = descriptor
        .annotation(CREATED_AT)
        .and_then(|text| text.parse::<jiff::Timestamp>().ok());
    Ok(CacheLayer {
        descriptor: descriptor.to_oci().map_err(|error| error.to_string())?,
        diff_id: Digest::from_str(diff_id).map_err(|error| error.to_string())?,
        created: created.map(std::time::SystemTime::from),
        description: descriptor
            .annotation("buildkit/description")
            .unwrap_or_default()
            .to_owned(),
    })
}

/// Checks a config and adds its records to a graph. A result with a layer that is not among the blobs is left out.
pub(crate) fn add_records(
    config: &CacheConfig,
    blobs: &Blobs,
    graph: &mut CacheGraph,
) -> Result<(), ParseError> {
    let order = order(&config.records)?;
    let mut ids = vec![String::new(); config.records.len()];
    let mut stacks = vec![None; config.layers.len()];
    for index in order {
        let record = &config.records[index];
        let digest = Digest::from_str(&record.digest)
            .map_err(|_| ParseError::RecordDigest(index, record.digest.clone()))?;
        let id = key_id(record, &ids);
        graph.records.entry(id.clone()).or_default();
        for (input, links) in record.inputs.iter().enumerate() {
            for link in links {
                let selector = selector(index, &link.selector)?;
                let from = record_at(&ids, link.link)?;
                graph.add_link(
                    from,
                    &Link {
                        input,
                        digest: digest.clone(),
                        selector,
                    },
                    &id,
                );
            }
        }
        for result in &record.results {
            if let Some(stack) = stack(config, result.layer, blobs, &mut stacks)? {
                graph.add_result(&id, stack, result.created_at.time());
            }
        }
        for chain in &record.chains {
            if let Some(stack) = listed(config, &chain.layers, blobs)? {
                graph.add_result(&id, stack, chain.created_at.time());
            }
        }
        ids[index] = id;
    }
    Ok(())
}

fn selector(record: usize, text: &str) -> Result<Option<Digest>, ParseError> {
    match text {
        "" => Ok(None),
        text => Digest::from_str(text)
            .map(Some)
            .map_err(|_| ParseError::Selector(record, text.to_owned())),
    }
}

fn record_at<T>(records: &[T], index: i64) -> Result<&T, ParseError> {
    usize::try_from(index)
        .ok()
        .and_then(|index| records.get(index))
        .ok_or(ParseError::RecordIndex(index))
}

/// The records in an order in which each comes after those it follows from.
fn order(records: &[Record]) -> Result<Vec<usize>, ParseError> {
    let mut waiting = vec![0_usize; records.len()];
    let mut followers = vec![Vec::new(); records.len()];
    for (index, record) in records.iter().enumerate() {
        for links in &record.inputs {
            if links.is_empty() {
                return Err(ParseError::EmptyInput(index));
            }
            for link in links {
                record_at(records, link.link)?;
                followers[link.link as usize].push(index);
                waiting[index] += 1;
            }
        }
    }
    let mut order: Vec<_> = (0..records.len())
        .filter(|index| waiting[*index] == 0)
        .collect();
    let mut next = 0;
    while let Some(&done) = order.get(next) {
        next += 1;
        for &follower in &followers[done] {
            waiting[follower] -= 1;
            if waiting[follower] == 0 {
                order.push(follower);
            }
        }
    }
    match order.len() == records.len() {
        true => Ok(order),
        false => Err(ParseError::RecordLoop),
    }
}

/// The id of a record's key: its digest if it follows from nothing, as the solver names such keys; else a digest of what
/// it follows from. Equal records get equal ids and become one.
fn key_id(record: &Record, ids: &[String]) -> String {
    if record.inputs.is_empty() {
        return record.digest.clone();
    }
    let mut hash = Sha256::new();
    hash.update(&record.digest);
    for links in &record.inputs {
        let mut links: Vec<_> = links
            .iter()
            .map(|link| {
                let from = usize::try_from(link.link)
                    .ok()
                    .and_then(|index| ids.get(index));
                (
                    from.map(String::as_str).unwrap_or_default(),
                    link.selector.as_str(),
                )
            })
            .collect();
        links.sort_unstable();
        hash.update(b"\0\0");
        for (from, selector) in links {
            hash.update(from);
            hash.update(b"\0");
            hash.update(selector);
            hash.update(b"\0");
        }
    }
    format!("record:{}", hex::encode(hash.finalize()))
}

/// What is known of a layer in the config: nothing yet, that it cannot be had, or itself on top of those below.
type Known = Option<Option<Arc<Stack>>>;

/// A layer on top of those it lies on; `None` if a blob of them is not to be had.
fn stack(
    config: &CacheConfig,
    top: i64,
    blobs: &Blobs,
    known: &mut [Known],
) -> Result<Option<Arc<Stack>>, ParseError> {
    let mut open = Vec::new();
    let mut next = top;
    let mut below = loop {
        if next == -1 {
            break Some(None);
        }
        let index = layer_index(config, next)?;
        if let Some(known) = &known[index] {
            break known.clone().map(Some);
        }
        if open.len() == config.layers.len() {
            return Err(ParseError::LayerLoop);
        }
        open.push(index);
        next = config.layers[index].parent;
    };
    for index in open.into_iter().rev() {
        below = below
            .and_then(|below| add(below, blobs.get(&config.layers[index].blob)?))
            .map(Some);
        known[index] = Some(below.clone().flatten());
    }
    Ok(below.flatten())
}

/// The layers at these indexes on top of each other; `None` if a blob of them is not to be had, or there are none.
fn listed(
    config: &CacheConfig,
    indexes: &[i64],
    blobs: &Blobs,
) -> Result<Option<Arc<Stack>>, ParseError> {
    let mut stack = Some(None);
    for index in indexes {
        let index = layer_index(config, *index)?;
        stack = stack
            .and_then(|below| add(below, blobs.get(&config.layers[index].blob)?))
            .map(Some);
    }
    Ok(stack.flatten())
}

/// A stack with one layer more, unless it is higher than any file system allows.
fn add(below: Option<Arc<Stack>>, layer: &CacheLayer) -> Option<Arc<Stack>> {
    let height = below.as_ref().map_or(0, |below| below.height);
    (height < MOST_LAYERS).then(|| Stack::on(below, layer.clone()))
}

fn layer_index(config: &CacheConfig, index: i64) -> Result<usize, ParseError> {
    let place = usize::try_from(index)
        .ok()
        .filter(|place| *place < config.layers.len());
    place.ok_or(ParseError::LayerIndex(index))
}
