//! An inline cache: records that speak of the layers of the image they are in.

use std::collections::HashMap;

use kiln_solver::ExportRecord;
use oci_spec::image::Digest;

use crate::CacheLayer;
use crate::build::{self, BuildError};
use crate::config::{ChainResult, Created, Layer, LayerResult};
use crate::model;

/// The records for an image with these layers (blob digests, bottom first), as they go into its config. `None` if no
/// record has its result in them.
pub fn inline_records(
    records: &[ExportRecord<Vec<CacheLayer>>],
    image: &[Digest],
) -> Result<Option<Vec<u8>>, BuildError> {
    let place: HashMap<&str, usize> = image
        .iter()
        .enumerate()
        .map(|(index, digest)| (digest.as_ref(), index))
        .collect();
    let (mut config, _) = build::config(records, |digest| place.contains_key(digest.as_ref()))?;
    if config.layers.is_empty() {
        return Ok(None);
    }
    let stacks: Vec<Vec<&str>> = (0..config.layers.len())
        .map(|index| stack(&config.layers, index))
        .collect();
    for record in &mut config.records {
        for result in std::mem::take(&mut record.results) {
            let Some(stack) = usize::try_from(result.layer)
                .ok()
                .and_then(|layer| stacks.get(layer))
            else {
                continue;
            };
            let lowest = stack.len() <= image.len()
                && stack
                    .iter()
                    .zip(image)
                    .all(|(blob, layer)| *blob == layer.as_ref());
            match lowest {
                // The lowest layers of the image, in their order: the topmost of them says it all.
                true => record.results.push(LayerResult {
                    layer: stack.len() as i64 - 1,
                    ..result
                }),
                false => record.chains.push(ChainResult {
                    layers: stack
                        .iter()
                        .filter_map(|blob| place.get(blob))
                        .map(|index| *index as i64)
                        .collect(),
                    created_at: Created::default(),
                }),
            }
        }
    }
    Ok(Some(model::encode(&config.records)?))
}

/// The blobs of a layer and all below it, bottom first.
fn stack(layers: &[Layer], index: usize) -> Vec<&str> {
    let mut stack = Vec::new();
    let mut next = Some(index);
    while let Some(layer) = next.and_then(|index| layers.get(index)) {
        stack.push(layer.blob.as_str());
        next = usize::try_from(layer.parent).ok();
    }
    stack.reverse();
    stack
}
