//! `DiffOp`: what leads from one tree to another.

use kiln_llb::pb;
use kiln_solver::CacheMap;
use kiln_store::{MutableOptions, Ref};

use super::{Output, digest, input_at, plain_cache_map};
use crate::error::BuildError;
use crate::tree::store_error;
use crate::worker::Worker;

pub(super) struct DiffOp {
    op: pb::DiffOp,
    inputs: usize,
    name: String,
}

impl DiffOp {
    pub(super) fn new(op: &pb::DiffOp, inputs: usize, name: &str) -> Self {
        Self {
            op: *op,
            inputs,
            name: name.into(),
        }
    }

    pub(super) fn cache_map(&self) -> CacheMap {
        plain_cache_map(digest::diff(&self.op), self.inputs)
    }

    pub(super) fn execute(
        &self,
        worker: &Worker,
        inputs: &[Output],
    ) -> Result<Vec<Output>, BuildError> {
        let lower = side(inputs, self.op.lower.as_ref().map(|lower| lower.input))?;
        let upper = side(inputs, self.op.upper.as_ref().map(|upper| upper.input))?;
        let output = match (lower, upper) {
            (None, upper) => upper.cloned(),
            (Some(lower), Some(upper)) if lower.id() == upper.id() => None,
            (lower, upper) => {
                let options = MutableOptions {
                    description: self.name.clone(),
                    ..MutableOptions::default()
                };
                worker
                    .store
                    .diff(lower, upper, options)
                    .map_err(store_error)?
            }
        };
        Ok(vec![output])
    }
}

/// A side of a diff; no index, or -1, is the empty tree.
fn side(inputs: &[Output], index: Option<i64>) -> Result<Option<&Ref>, BuildError> {
    match usize::try_from(index.unwrap_or(-1)) {
        Ok(index) => Ok(input_at(inputs, index)?.as_ref()),
        Err(_) => Ok(None),
    }
}
