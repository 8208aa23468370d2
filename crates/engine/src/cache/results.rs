//! Results of the local cache: refs by their ids.

use std::time::SystemTime;

use async_trait::async_trait;
use kiln_solver::{CacheError, ResultStore};
use kiln_store::Store;

use crate::ops::Output;

/// Id of an empty tree, which needs no storage.
pub(crate) const SCRATCH: &str = "scratch";

pub(crate) struct RefResults {
    store: Store,
}

impl RefResults {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }
}

#[async_trait]
impl ResultStore for RefResults {
    type Output = Output;

    async fn save(&self, output: &Output, _created: SystemTime) -> Result<String, CacheError> {
        Ok(output
            .as_ref()
            .map_or(SCRATCH, |reference| reference.id())
            .to_owned())
    }

    async fn load(&self, id: &str) -> Result<Output, CacheError> {
        if id == SCRATCH {
            return Ok(None);
        }
        let Some(reference) = self.store.get(id)? else {
            return Err(format!("ref {id} is gone").into());
        };
        // Layers that nobody can fetch any more make a result useless; its
        // step runs again, and with it the source that knows the way.
        if let Some(layer) = reference.unfetchable()?.first() {
            return Err(
                format!("layer {} of ref {id} cannot be fetched", layer.description).into(),
            );
        }
        Ok(Some(reference))
    }

    fn exists(&self, id: &str) -> bool {
        id == SCRATCH || self.store.contains(id).unwrap_or(false)
    }
}
