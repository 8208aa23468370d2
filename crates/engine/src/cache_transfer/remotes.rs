//! Results as lists of layer blobs, which is what a cache holds of them.

use async_trait::async_trait;
use kiln_exporter::{Compression, LayerBlob};
use kiln_remote_cache::CacheLayer;
use kiln_solver::{CacheError, ExportCandidate, Remotes};
use kiln_store::Ref;

use crate::engine::Engine;
use crate::lost;
use crate::ops::Output;

pub(super) struct LayerBlobs {
    engine: Engine,
    compression: Compression,
}

impl LayerBlobs {
    pub(super) fn new(engine: &Engine, compression: Compression) -> Self {
        Self {
            engine: engine.clone(),
            compression,
        }
    }

    /// The blobs of a result; `None` if files of it are lost, without which a cache can be.
    async fn blobs(&self, reference: &Ref) -> Result<Option<Vec<CacheLayer>>, CacheError> {
        let exporter = &self.engine.exporter;
        match exporter.layers(reference, &self.compression).await {
            Ok(blobs) => Ok(Some(blobs.into_iter().map(cache_layer).collect())),
            Err(_) if lost::is_lost(&Some(reference.clone())).await? => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The ref behind a candidate, if it is in the local store.
    fn reference(&self, candidate: &ExportCandidate<Output>) -> Result<Option<Ref>, CacheError> {
        match &candidate.output {
            Some(output) => Ok(output.clone()),
            None => Ok(self.engine.worker.store.get(&candidate.id)?),
        }
    }
}

fn cache_layer(blob: LayerBlob) -> CacheLayer {
    CacheLayer {
        descriptor: blob.descriptor,
        diff_id: blob.diff_id,
        created: blob.created,
        description: blob.description,
    }
}

#[async_trait]
impl Remotes for LayerBlobs {
    type Output = Output;
    type Remote = Vec<CacheLayer>;

    async fn existing(
        &self,
        candidate: &ExportCandidate<Output>,
    ) -> Result<Option<Vec<CacheLayer>>, CacheError> {
        let Some(reference) = self.reference(candidate)? else {
            return Ok(None);
        };
        if reference
            .layers()?
            .iter()
            .any(|layer| layer.blobs.is_empty())
        {
            return Ok(None);
        }
        self.blobs(&reference).await
    }

    async fn make(
        &self,
        candidate: &ExportCandidate<Output>,
    ) -> Result<Option<Vec<CacheLayer>>, CacheError> {
        match self.reference(candidate)? {
            Some(reference) => self.blobs(&reference).await,
            None => Ok(None),
        }
    }
}
