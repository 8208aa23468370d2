//! Finds edges that turn out to be the same work.
//!
//! Two edges are equal if their ops' digests are equal and, for every input,
//! they share a way to it: the same edge, or the same content.

use std::collections::{BTreeSet, HashMap, HashSet};

use oci_spec::image::Digest;

use super::ids::EdgeId;

/// One way in which an edge gets an input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Way {
    /// From this edge, looked at through this selector.
    Edge(EdgeId, Option<Digest>),
    /// With this content.
    Content(Digest),
}

/// What an edge is: its op's digest and, by input, the ways to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub digest: Digest,
    pub inputs: Vec<Vec<Way>>,
}

/// An entry of the index; edges without inputs stand under the bare digest.
type Entry = (Digest, Option<(usize, Way)>);

/// All edges whose identity is known.
#[derive(Debug, Default)]
pub(super) struct EdgeIndex {
    edges: HashMap<Entry, BTreeSet<EdgeId>>,
    entries: HashMap<EdgeId, HashSet<Entry>>,
}

impl EdgeIndex {
    /// The edges equal to this identity, oldest first.
    pub(super) fn equal(&self, identity: &Identity) -> Vec<EdgeId> {
        if identity.inputs.is_empty() {
            return self.standing(&(identity.digest.clone(), None)).collect();
        }
        let mut equal: Option<BTreeSet<EdgeId>> = None;
        for (input, ways) in identity.inputs.iter().enumerate() {
            let mut found = BTreeSet::new();
            for way in ways {
                found.extend(self.standing(&(identity.digest.clone(), Some((input, way.clone())))));
            }
            if let Some(before) = equal {
                found.retain(|edge| before.contains(edge));
            }
            if found.is_empty() {
                return Vec::new();
            }
            equal = Some(found);
        }
        equal.into_iter().flatten().collect()
    }

    fn standing(&self, entry: &Entry) -> impl Iterator<Item = EdgeId> + use<'_> {
        self.edges.get(entry).into_iter().flatten().copied()
    }

    /// Adds what is known about an edge.
    pub(super) fn insert(&mut self, edge: EdgeId, identity: Identity) {
        let Identity { digest, inputs } = identity;
        let mut entries: Vec<Entry> = Vec::new();
        if inputs.is_empty() {
            entries.push((digest, None));
        } else {
            for (input, ways) in inputs.into_iter().enumerate() {
                entries.extend(
                    ways.into_iter()
                        .map(|way| (digest.clone(), Some((input, way)))),
                );
            }
        }
        for entry in entries {
            self.edges.entry(entry.clone()).or_default().insert(edge);
            self.entries.entry(edge).or_default().insert(entry);
        }
    }

    /// Forgets an edge.
    pub(super) fn remove(&mut self, edge: EdgeId) {
        for entry in self.entries.remove(&edge).into_iter().flatten() {
            if let Some(edges) = self.edges.get_mut(&entry) {
                edges.remove(&edge);
                if edges.is_empty() {
                    self.edges.remove(&entry);
                }
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.edges.len() + self.entries.len()
    }
}
