//! From what a plan's solver found to the document.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kiln_solver::Edge;
use oci_spec::image::Digest;

use super::document::{Certainty, Fate, Plan, PlannedStep, Pull};
use super::layers::{self, Layers, told};
use super::op::{Cached, Planned};
use super::sheet::{End, Notes};
use crate::bridge::Bridge;
use crate::error::BuildError;
use crate::explain;
use crate::ops::EngineOp;

/// One result of a build.
pub(super) struct Root {
    /// The vertices that it comes from, inputs before their users.
    pub(super) vertices: Vec<(kiln_llb::Vertex, Arc<EngineOp>)>,
    pub(super) edge: Edge,
    /// What it would come to.
    pub(super) output: Planned,
}

impl Root {
    /// Its layers, as far as they are known.
    pub(super) fn layers(&self, bridge: &Bridge) -> Result<Option<Layers>, BuildError> {
        let mut vertices = self.vertices.iter();
        match vertices.find(|(vertex, _)| vertex.digest == self.edge.vertex) {
            Some((_, op)) => layers::of(bridge, op, &self.output),
            None => Ok(None),
        }
    }
}

/// The steps of all results, and what would come here for them.
pub(super) fn describe(bridge: &Bridge, notes: &Notes, roots: &[Root]) -> Result<Plan, BuildError> {
    let mut description = Description {
        bridge,
        notes,
        places: HashMap::new(),
        plan: Plan::default(),
    };
    let vertices = || roots.iter().flat_map(|root| &root.vertices);
    for (vertex, op) in vertices() {
        description.add_step(vertex, op);
    }
    // A layer that comes for sure is not one that may come.
    let mut seen = HashSet::new();
    for certainty in [Certainty::Sure, Certainty::Possible] {
        for (vertex, op) in vertices() {
            if notes.needed.get(&vertex.digest) == Some(&certainty) {
                description.add_pull(&vertex.digest, op, certainty, &mut seen)?;
            }
        }
    }
    let mut plan = description.plan;
    plan.pulls.sort_by_key(|pull| pull.step);
    Ok(plan)
}

struct Description<'a> {
    bridge: &'a Bridge,
    notes: &'a Notes,
    /// The places of steps in the list.
    places: HashMap<Digest, usize>,
    plan: Plan,
}

impl Description<'_> {
    fn add_step(&mut self, vertex: &kiln_llb::Vertex, op: &EngineOp) {
        if self.places.contains_key(&vertex.digest) {
            return;
        }
        let inputs = vertex.inputs.iter();
        let inputs = inputs.filter_map(|edge| self.places.get(&edge.vertex).copied());
        let step = PlannedStep {
            digest: vertex.digest.to_string(),
            name: op.name().to_owned(),
            kind: explain::kind(&vertex.op),
            inputs: inputs.collect(),
            fate: self.fate(&vertex.digest),
        };
        self.places
            .insert(vertex.digest.clone(), self.plan.steps.len());
        self.plan.steps.push(step);
    }

    fn fate(&self, vertex: &Digest) -> Fate {
        match self.notes.ends.get(vertex) {
            None | Some(End::Unneeded) => Fate::Unneeded,
            Some(End::Loading | End::Cached) => Fate::Cached {
                from: match self.notes.found.get(vertex) {
                    Some(Planned::Cached(Cached { cache, .. })) => self.bridge.imports.name(cache),
                    _ => None,
                },
            },
            Some(End::Outcome(Planned::Here(_) | Planned::Elsewhere)) => Fate::Used,
            Some(End::Outcome(Planned::Made | Planned::Cached(_))) => Fate::Runs,
            Some(End::Outcome(Planned::Perhaps(step))) => match self.places.get(step) {
                Some(place) => Fate::Unknown { depends_on: *place },
                None => Fate::Runs,
            },
        }
    }

    /// Adds the layers of a result that would come here, unless they come with another one.
    fn add_pull(
        &mut self,
        vertex: &Digest,
        op: &EngineOp,
        certainty: Certainty,
        seen: &mut HashSet<Digest>,
    ) -> Result<(), BuildError> {
        let (Some(planned), Some(step)) = (self.notes.found.get(vertex), self.places.get(vertex))
        else {
            return Ok(());
        };
        let Some(mut layers) = layers::of(self.bridge, op, planned)? else {
            return Ok(());
        };
        layers
            .absent
            .retain(|layer| seen.insert(layer.digest().clone()));
        if !layers.absent.is_empty() {
            self.plan.pulls.push(Pull {
                step: *step,
                from: layers.from,
                certainty,
                layers: told(&layers.absent),
            });
        }
        Ok(())
    }
}
