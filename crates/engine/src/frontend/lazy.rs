//! Results that frontends hold: definitions, computed when somebody needs the
//! files.

use std::sync::Arc;

use kiln_llb::Definition;
use kiln_solver::Cache;
use tokio::sync::OnceCell;

use crate::bridge::{Bridge, Solution};
use crate::error::{BuildError, Kind};
use crate::ops::Output;

/// A definition and, once it was needed, what it came to.
pub(crate) struct LazyRef {
    /// The door of the frontend that it comes from.
    bridge: Arc<Bridge>,
    definition: Definition,
    /// Caches that whoever made it named, beside those of the build.
    caches: Vec<Cache<Output>>,
    outcome: OnceCell<Result<Solution, BuildError>>,
}

impl LazyRef {
    pub(crate) fn new(
        bridge: Arc<Bridge>,
        definition: Definition,
        caches: Vec<Cache<Output>>,
    ) -> Self {
        Self {
            bridge,
            definition,
            caches,
            outcome: OnceCell::new(),
        }
    }

    pub(crate) fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The result, computed once. What failed stays failed, but a solve that
    /// was given up is tried again by the next one who asks.
    pub(crate) async fn solution(&self) -> Result<&Solution, BuildError> {
        let solve = async {
            match self.bridge.solve_with(&self.definition, &self.caches).await {
                Err(error) if error.kind == Kind::Cancelled => Err(error),
                outcome => Ok(outcome),
            }
        };
        let outcome = self.outcome.get_or_try_init(|| solve).await?;
        outcome.as_ref().map_err(BuildError::clone)
    }

    /// The files, `None` for an empty tree.
    pub(crate) async fn output(&self) -> Result<Output, BuildError> {
        Ok(self.solution().await?.output.clone())
    }
}
