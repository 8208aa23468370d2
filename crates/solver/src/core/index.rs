//! Finds edges that turn out to be the same work.
//!
//! Two edges are equal if their ops' digests are equal and, for every input,
//! they share a way to it: the same edge, or the same content.

use std::collections::{BTreeSet, HashMap, HashSet};

use oci_spec::image::Digest;

use super::ids::EdgeId;

/// One thing known of what an edge is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Trait {
    /// Digest of the op with the output.
    pub digest: Digest,
    /// A way to one of its inputs; nothing for ops without inputs.
    pub way: Option<(usize, Way)>,
}

/// One way in which an edge gets an input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    /// From this edge, looked at through this selector.
    Edge(EdgeId, Option<Digest>),
    /// With this content.
    Content(Digest),
}

/// Edges by what is known of them.
#[derive(Debug, Default)]
pub(super) struct EdgeIndex {
    edges: HashMap<Trait, BTreeSet<EdgeId>>,
    traits: HashMap<EdgeId, HashSet<Trait>>,
}

impl EdgeIndex {
    /// The edges which share a trait, oldest first.
    pub(super) fn sharing(&self, shared: &Trait) -> impl Iterator<Item = EdgeId> + use<'_> {
        self.edges.get(shared).into_iter().flatten().copied()
    }

    /// Adds what is known about an edge.
    pub(super) fn insert(&mut self, edge: EdgeId, known: Trait) {
        self.edges.entry(known.clone()).or_default().insert(edge);
        self.traits.entry(edge).or_default().insert(known);
    }

    /// Forgets an edge.
    pub(super) fn remove(&mut self, edge: EdgeId) {
        for known in self.traits.remove(&edge).into_iter().flatten() {
            if let Some(edges) = self.edges.get_mut(&known) {
                edges.remove(&edge);
                if edges.is_empty() {
                    self.edges.remove(&known);
                }
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.edges.len() + self.traits.len()
    }
}
