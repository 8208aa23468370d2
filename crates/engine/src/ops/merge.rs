//! `MergeOp`: several trees on top of each other.

use kiln_llb::pb;
use kiln_solver::CacheMap;
use kiln_store::MutableOptions;

use super::{Output, digest, plain_cache_map};
use crate::error::BuildError;
use crate::tree::store_error;
use crate::worker::Worker;

pub(super) struct MergeOp {
    op: pb::MergeOp,
    inputs: usize,
    name: String,
}

impl MergeOp {
    pub(super) fn new(op: &pb::MergeOp, inputs: usize, name: &str) -> Self {
        Self {
            op: op.clone(),
            inputs,
            name: name.into(),
        }
    }

    pub(super) fn cache_map(&self) -> CacheMap {
        plain_cache_map(digest::merge(&self.op), self.inputs)
    }

    pub(super) fn execute(
        &self,
        worker: &Worker,
        inputs: &[Output],
    ) -> Result<Vec<Output>, BuildError> {
        let options = MutableOptions {
            description: self.name.clone(),
            ..MutableOptions::default()
        };
        Ok(vec![
            worker.store.merge(inputs, options).map_err(store_error)?,
        ])
    }
}
