//! Cached results whose files turn out not to be had: they count for nothing, and what they were for is built.
//!
//! The layers of an imported cache are fetched when they are needed, which is when it shows that a store has lost them.
//! By then the solver has handed out the result, and others build on it.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use kiln_solver::Holder;
use kiln_store::refs::LayerInfo;
use kiln_store::{Ref, StoreError};

use crate::bridge::Bridge;
use crate::engine::blocking;
use crate::error::{BuildError, Kind};
use crate::ops::Output;
use crate::tree::store_error;

/// The lost results that one piece of work has met: each is reason to try it once more.
#[derive(Default)]
pub(crate) struct Losses(BTreeSet<Holder>);

impl Losses {
    /// Whether `error` may come from results that are lost and were not met before. They are told and given up, so that
    /// a solve that begins now goes without them.
    pub(crate) async fn explain(&mut self, bridge: &Bridge, error: &BuildError) -> bool {
        // Fetching fails for reasons that are outside.
        if error.kind != Kind::Environment {
            return false;
        }
        let held = bridge.job.outputs();
        let lost = blocking(move || lost_of(held).map_err(store_error)).await;
        let Ok(lost) = lost else { return false };
        bridge.job.disown(&lost);
        bridge.imports.tell_losses(&bridge.progress);
        let before = self.0.len();
        self.0.extend(lost);
        self.0.len() > before
    }
}

fn lost_of(held: Vec<(Holder, Output)>) -> Result<Vec<Holder>, StoreError> {
    let mut lost = Vec::new();
    for (holder, output) in held {
        if lacks_layers(&output)? {
            lost.push(holder);
        }
    }
    Ok(lost)
}

/// Whether files of a result cannot be had any more.
pub(crate) async fn is_lost(output: &Output) -> Result<bool, BuildError> {
    let output = output.clone();
    blocking(move || lacks_layers(&output).map_err(store_error)).await
}

fn lacks_layers(output: &Output) -> Result<bool, StoreError> {
    match output {
        Some(output) => Ok(!output.unfetchable()?.is_empty()),
        None => Ok(false),
    }
}

/// What somebody is going to read of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// Nothing, or what it finds out itself.
    Nothing,
    /// The blobs of its layers.
    Blobs,
    /// Its files.
    Files,
}

impl Need {
    /// Brings what is needed here.
    pub(crate) async fn bring(self, output: &Output) -> Result<(), BuildError> {
        let brought = match (self, output) {
            (Self::Nothing, _) | (_, None) => Ok(()),
            (Self::Blobs, Some(output)) => bring_blobs(output).await,
            (Self::Files, Some(output)) => output.materialize().await,
        };
        brought.map_err(store_error)
    }
}

async fn bring_blobs(output: &Ref) -> Result<(), StoreError> {
    let layers = output.layers()?;
    try_join_all(layers.iter().map(bring_blob)).await.map(drop)
}

async fn bring_blob(layer: &LayerInfo) -> Result<(), StoreError> {
    match (&layer.dir, layer.blobs.first()) {
        // Blobs are made of the files.
        (Some(_), _) => Ok(()),
        (None, Some(blob)) => layer.fetch_blob(blob).await,
        (None, None) => layer.owner.materialize().await,
    }
}
