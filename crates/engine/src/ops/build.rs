//! `BuildOp`: a nested build, which is refused by name for now.

use kiln_solver::CacheMap;

use super::Output;
use crate::error::{BuildError, Kind};

pub(super) struct BuildOp;

impl BuildOp {
    pub(super) fn cache_map(&self) -> Result<CacheMap, BuildError> {
        Err(unsupported())
    }

    pub(super) fn execute(&self) -> Result<Vec<Output>, BuildError> {
        Err(unsupported())
    }
}

fn unsupported() -> BuildError {
    BuildError::new(
        Kind::Input,
        "LLB build ops (nested builds) are not supported yet",
    )
    .hint("solve the inner definition on its own and use its result as an input")
}
