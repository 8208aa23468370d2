//! Layers that stand for results of steps.

use std::collections::BTreeMap;

use async_trait::async_trait;
use kiln_exporter::LayerError;
use kiln_solver::{CacheError, ExportCandidate, ExportMode, ExportOptions, Remotes, Solved};
use kiln_store::Store;
use serde::Serialize;

use super::steps::{self, Numbers};
use crate::error::{BuildError, Kind};
use crate::ops::Output;

/// Chains of layers by output of a step; one output may have several.
pub(super) type Layers = BTreeMap<String, Vec<Chain>>;

type Chain = Vec<Layer>;

/// A layer's blob.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Layer {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

/// The layers that exist of a result and of all behind it. None are made or fetched for this.
pub(super) async fn find(
    store: &Store,
    solved: &Solved<Output>,
    numbers: &Numbers,
) -> Result<Layers, BuildError> {
    let options = ExportOptions {
        mode: ExportMode::Min,
        roots: true,
        ignore_backlinks: true,
    };
    let existing = Existing(store.clone());
    let records = kiln_solver::export(std::slice::from_ref(solved), &options, &existing).await;
    let records = records.map_err(|error| BuildError::wrap(Kind::Environment, error))?;
    let mut layers = Layers::new();
    for result in records.into_iter().flat_map(|record| record.results) {
        let number = result.vertex.and_then(|vertex| numbers.get(&vertex));
        let Some(number) = number.filter(|_| !result.remote.is_empty()) else {
            continue;
        };
        let output = format!("{}:{}", steps::name(*number), result.output);
        let chains = layers.entry(output).or_default();
        if !chains.contains(&result.remote) {
            chains.push(result.remote);
        }
    }
    Ok(layers)
}

/// Results whose layers all have blobs.
struct Existing(Store);

#[async_trait]
impl Remotes for Existing {
    type Output = Output;
    type Remote = Chain;

    async fn existing(
        &self,
        candidate: &ExportCandidate<Output>,
    ) -> Result<Option<Chain>, CacheError> {
        let Some(reference) = self.0.get(&candidate.id)? else {
            return Ok(None);
        };
        let layers = reference.layers()?.into_iter();
        let chain =
            layers.map(|layer| Ok(kiln_exporter::any_blob(&layer)?.map(|it| describe(&it))));
        chain
            .collect::<Result<Option<Chain>, LayerError>>()
            .map_err(CacheError::from)
    }

    async fn make(&self, _: &ExportCandidate<Output>) -> Result<Option<Chain>, CacheError> {
        Ok(None)
    }
}

/// A blob as images describe it.
fn describe(blob: &oci_spec::image::Descriptor) -> Layer {
    let annotations = blob.annotations().clone().unwrap_or_default().into_iter();
    let is_internal = |name: &str| {
        matches!(name, "containerd.io/uncompressed" | "buildkit/createdat")
            || name.starts_with("containerd.io/distribution.source.")
    };
    Layer {
        media_type: blob.media_type().to_string(),
        digest: blob.digest().to_string(),
        size: blob.size(),
        annotations: annotations.filter(|(name, _)| !is_internal(name)).collect(),
    }
}
