//! `PassthroughOp`: hands inputs on, so that a graph can name them anew.

use kiln_llb::pb;
use kiln_solver::CacheMap;

use super::{Output, digest, input_at, plain_cache_map};
use crate::error::{BuildError, Kind};

pub(super) struct PassthroughOp {
    op: pb::PassthroughOp,
    inputs: usize,
}

impl PassthroughOp {
    pub(super) fn new(op: &pb::PassthroughOp, inputs: usize) -> Self {
        Self {
            op: op.clone(),
            inputs,
        }
    }

    pub(super) fn cache_map(&self) -> CacheMap {
        plain_cache_map(digest::passthrough(&self.op), self.inputs)
    }

    pub(super) fn execute(&self, inputs: &[Output]) -> Result<Vec<Output>, BuildError> {
        let outputs = self.op.outputs.iter().map(|index| {
            let index = usize::try_from(*index).map_err(|_| {
                let message = format!("invalid passthrough output input index {index}");
                BuildError::new(Kind::Input, message)
            })?;
            input_at(inputs, index).cloned()
        });
        outputs.collect()
    }
}
