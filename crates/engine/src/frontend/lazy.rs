//! Results that frontends hold: definitions, computed when somebody needs the
//! files.

use std::sync::{Arc, Mutex, PoisonError};

use kiln_llb::Definition;
use kiln_solver::Cache;
use tokio::sync::OnceCell;

use crate::bridge::{Bridge, Solution};
use crate::error::{BuildError, Kind};
use crate::lost::{self, Losses, Need};
use crate::ops::Output;
use crate::provenance::KnownResults;

/// What a definition came to, once it was needed.
type Outcome = Arc<OnceCell<Result<Solution, BuildError>>>;

/// A definition and what it came to.
pub(crate) struct LazyRef {
    /// The door of the frontend that it comes from.
    bridge: Arc<Bridge>,
    definition: Definition,
    /// Caches that whoever made it named, beside those of the build.
    caches: Vec<Cache<Output>>,
    /// Another one takes its place if files of the result are lost.
    outcome: Mutex<Outcome>,
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
            outcome: Mutex::default(),
        }
    }

    pub(crate) fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Lets requests that get this as an input know whose result it is.
    pub(crate) fn make_known(&self, results: &KnownResults) {
        results.add(&self.definition, &self.bridge.ledger);
    }

    fn outcome(&self) -> Outcome {
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.clone()
    }

    /// The result, computed once. What failed stays failed, but a solve that
    /// was given up is tried again by the next one who asks.
    pub(crate) async fn solution(&self) -> Result<Solution, BuildError> {
        let solve = async {
            match self.bridge.solve_with(&self.definition, &self.caches).await {
                Err(error) if error.kind == Kind::Cancelled => Err(error),
                outcome => Ok(outcome),
            }
        };
        let outcome = self.outcome();
        outcome.get_or_try_init(|| solve).await?.clone()
    }

    /// The result with what is needed of it here. It is computed anew if that cannot be had.
    pub(crate) async fn brought(&self, need: Need) -> Result<Solution, BuildError> {
        let mut losses = Losses::default();
        loop {
            let outcome = self.outcome();
            let solution = self.solution().await?;
            match need.bring(&solution.output).await {
                Ok(()) => return Ok(solution),
                Err(error) if losses.explain(&self.bridge, &error).await => self.forget(&outcome),
                Err(error) => return Err(error),
            }
        }
    }

    /// Has the result computed anew, if that is what it still is.
    fn forget(&self, stale: &Outcome) {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&outcome, stale) {
            *outcome = Outcome::default();
        }
    }

    /// Has the result computed anew if files of it are lost.
    pub(crate) async fn forget_lost(&self) -> Result<(), BuildError> {
        let outcome = self.outcome();
        if let Some(Ok(solution)) = outcome.get()
            && lost::is_lost(&solution.output).await?
        {
            self.forget(&outcome);
        }
        Ok(())
    }

    /// The files, `None` for an empty tree.
    pub(crate) async fn output(&self) -> Result<Output, BuildError> {
        Ok(self.solution().await?.output)
    }
}
