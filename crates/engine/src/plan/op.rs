//! Ops that say what they would do.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use kiln_solver::{CacheMap, Edge, Op, OpContext};
use kiln_store::Ref;
use oci_spec::image::Digest;

use super::document::Certainty;
use super::sheet::{Sheet, Step};
use crate::error::BuildError;
use crate::explain::StepKind;
use crate::ops::{EngineOp, Output};

/// What a step would produce.
#[derive(Clone)]
pub(super) enum Planned {
    /// It is here: a directory of the client, or an empty tree.
    Here(Output),
    /// It is in a cache.
    Cached(Cached),
    /// It is a source whose files are elsewhere.
    Elsewhere,
    /// It would be made by a step that runs.
    Made,
    /// It would be made by a step that may run, depending on the content of another's result.
    Perhaps(Digest),
}

/// A result in a cache.
#[derive(Clone)]
pub(super) struct Cached {
    /// The cache.
    pub(super) cache: Arc<str>,
    /// Its id there.
    pub(super) id: String,
    /// The tree, if it is in the store.
    pub(super) tree: Option<Ref>,
}

/// An op that runs nothing.
pub(super) struct PlannedOp {
    op: Arc<dyn Op<Output = Output, Error = BuildError>>,
    step: Step,
    inputs: Vec<Edge>,
    /// How many outputs others ask for.
    outputs: usize,
    ignores_cache: bool,
    /// Which inputs count by their content.
    by_content: OnceLock<Vec<bool>>,
    /// Those of them whose content cannot be told.
    untold: Mutex<BTreeSet<usize>>,
    sheet: Arc<Sheet>,
}

impl PlannedOp {
    /// Plans a vertex.
    pub(super) fn new(
        vertex: &kiln_solver::Vertex<EngineOp>,
        kind: StepKind,
        outputs: usize,
        sheet: &Arc<Sheet>,
    ) -> Self {
        let digest = vertex.digest.clone();
        Self {
            op: vertex.op.clone(),
            step: Step { digest, kind },
            inputs: vertex.inputs.clone(),
            outputs,
            ignores_cache: vertex.options.ignore_cache,
            by_content: OnceLock::new(),
            untold: Mutex::default(),
            sheet: sheet.clone(),
        }
    }

    fn counts_by_content(&self, input: usize) -> bool {
        let known = self.by_content.get().and_then(|inputs| inputs.get(input));
        known.copied().unwrap_or_default()
    }

    /// What running would come to. A result is new for sure if one that it is keyed by is.
    fn prospect(&self, inputs: &[Planned]) -> Planned {
        let mut keyed = inputs.iter().enumerate();
        let is_new = keyed.any(|(number, input)| {
            matches!(input, Planned::Made) && !self.counts_by_content(number)
        });
        if is_new || self.ignores_cache {
            return Planned::Made;
        }
        let untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        let untold = untold.first().and_then(|input| self.inputs.get(*input));
        if let Some(edge) = untold {
            return Planned::Perhaps(edge.vertex.clone());
        }
        let perhaps = inputs.iter().find(|it| matches!(it, Planned::Perhaps(_)));
        perhaps.cloned().unwrap_or(Planned::Made)
    }
}

#[async_trait]
impl Op for PlannedOp {
    type Output = Planned;
    type Error = BuildError;

    async fn cache_map(&self, cx: &OpContext, index: usize) -> Result<CacheMap, BuildError> {
        let map = self.op.cache_map(cx, index).await?;
        let by_content = || map.deps.iter().map(|dep| dep.content).collect();
        self.by_content.get_or_init(by_content);
        Ok(map)
    }

    async fn content_digest(
        &self,
        cx: &OpContext,
        input: usize,
        output: &Planned,
    ) -> Result<Option<Digest>, BuildError> {
        if let Some(edge) = self.inputs.get(input) {
            self.sheet.found(&edge.vertex, output);
        }
        let tree = match output {
            Planned::Here(tree) => Some(tree.clone()),
            Planned::Cached(Cached {
                tree: Some(tree), ..
            }) if is_here(tree)? => Some(Some(tree.clone())),
            _ => None,
        };
        match tree {
            Some(tree) => self.op.content_digest(cx, input, &tree).await,
            None => {
                let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
                untold.insert(input);
                Ok(None)
            }
        }
    }

    async fn execute(
        &self,
        cx: &OpContext,
        inputs: Vec<Planned>,
    ) -> Result<Vec<Planned>, BuildError> {
        for (edge, input) in self.inputs.iter().zip(&inputs) {
            self.sheet.found(&edge.vertex, input);
        }
        let outcome = match self.step.kind {
            StepKind::Local => {
                let trees = self.op.execute(cx, Vec::new()).await?;
                Planned::Here(trees.into_iter().next().flatten())
            }
            StepKind::Image | StepKind::Source => Planned::Elsewhere,
            StepKind::Exec | StepKind::File | StepKind::Other => self.prospect(&inputs),
        };
        let certainty = match (self.step.kind, &outcome) {
            (StepKind::Exec | StepKind::File, Planned::Made) => Certainty::Sure,
            // Merged trees and differences are made of files when somebody reads those.
            _ => Certainty::Possible,
        };
        for edge in &self.inputs {
            self.sheet.needs(&edge.vertex, certainty);
        }
        self.sheet.ends(&self.step, &outcome);
        Ok(vec![outcome; self.outputs])
    }
}

/// Whether the files of a tree can be read without bringing any.
fn is_here(tree: &Ref) -> Result<bool, BuildError> {
    Ok(!tree.is_lazy().map_err(crate::tree::store_error)?)
}
