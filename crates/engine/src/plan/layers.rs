//! Which layers a plan would bring here.

use kiln_store::{ContentStore, Ref};
use oci_spec::image::Descriptor;

use super::document::PlannedLayer;
use super::op::{Cached, Planned};
use crate::bridge::Bridge;
use crate::error::BuildError;
use crate::ops::EngineOp;
use crate::tree::store_error;

/// The layers of a result that can be named.
#[derive(Default)]
pub(super) struct Layers {
    /// Where those come from that are not here.
    pub(super) from: String,
    /// All of them, bottom first.
    pub(super) known: Vec<Descriptor>,
    /// Those whose bytes would have to come.
    pub(super) absent: Vec<Descriptor>,
    /// Whether some have no blob yet.
    pub(super) has_unnamed: bool,
}

/// The layers of what a vertex would come to. `None` for a result that would be made, and for one that is no image and
/// in no cache.
pub(super) fn of(
    bridge: &Bridge,
    op: &EngineOp,
    planned: &Planned,
) -> Result<Option<Layers>, BuildError> {
    let content = bridge.engine.content();
    match planned {
        Planned::Cached(Cached {
            tree: Some(tree), ..
        }) => of_tree(tree, content).map(Some),
        Planned::Cached(Cached { cache, id, .. }) => {
            let from = bridge.imports.name(cache).unwrap_or_default();
            named(from, bridge.imports.layers(cache, id), content).map(Some)
        }
        Planned::Elsewhere => match op.origin() {
            Some((from, layers)) => named(from, layers, content).map(Some),
            None => Ok(None),
        },
        Planned::Here(_) | Planned::Made | Planned::Perhaps(_) => Ok(None),
    }
}

fn named(
    from: String,
    known: Vec<Descriptor>,
    content: &ContentStore,
) -> Result<Layers, BuildError> {
    let mut absent = Vec::new();
    for layer in &known {
        if !is_here(layer, content)? {
            absent.push(layer.clone());
        }
    }
    Ok(Layers {
        from,
        known,
        absent,
        has_unnamed: false,
    })
}

fn of_tree(tree: &Ref, content: &ContentStore) -> Result<Layers, BuildError> {
    let mut layers = Layers::default();
    for layer in tree.layers().map_err(store_error)? {
        let Some(blob) = layer.blobs.first() else {
            layers.has_unnamed = true;
            continue;
        };
        if layer.dir.is_none() && !is_here(blob, content)? {
            layers.absent.push(blob.clone());
            layers.from = layer.description.clone();
        }
        layers.known.push(blob.clone());
    }
    Ok(layers)
}

fn is_here(layer: &Descriptor, content: &ContentStore) -> Result<bool, BuildError> {
    let exists = content.exists(layer.digest());
    exists.map_err(|error| BuildError::wrap(crate::error::Kind::Environment, error))
}

/// Layers as plans tell them.
pub(super) fn told(layers: &[Descriptor]) -> Vec<PlannedLayer> {
    let told = layers.iter().map(|layer| PlannedLayer {
        digest: layer.digest().to_string(),
        size: layer.size(),
    });
    told.collect()
}
