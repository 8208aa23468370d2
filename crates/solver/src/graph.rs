//! The graph a caller wants solved: vertices, their ops and how outputs flow.

use std::collections::HashMap;
use std::sync::Arc;

use oci_spec::image::Digest;

/// One output of one vertex.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Edge {
    /// Digest of the vertex.
    pub vertex: Digest,
    /// Index into the outputs of its op.
    pub output: usize,
}

/// Settings of a vertex that do not change its identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VertexOptions {
    /// Run the op even if the cache knows its result.
    pub ignore_cache: bool,
    /// Overrides whether results found in the cache are exported with it.
    pub export_cache: Option<bool>,
    /// Vertices of different realms never become one, although their digests are equal: jobs may want the same done in
    /// different surroundings.
    pub realm: Option<&'static str>,
}

/// One op of a graph with its place in it.
#[derive(Debug)]
pub struct Vertex<O> {
    /// Identity: covers the op and, through its inputs, everything below it.
    pub digest: Digest,
    /// What to do.
    pub op: Arc<O>,
    /// Outputs of other vertices the op works on, in the op's order.
    pub inputs: Vec<Edge>,
    /// Text for people.
    pub name: String,
    /// Settings that do not change the identity.
    pub options: VertexOptions,
}

/// Why a list of vertices is not a graph.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GraphError {
    /// Two vertices share a digest.
    #[error("vertex {0} is listed twice; give every vertex once")]
    Duplicate(Digest),
    /// An input names no vertex.
    #[error("vertex {vertex} takes an input from {input}, which is not in the graph; add it")]
    Dangling {
        /// The vertex with the input.
        vertex: Digest,
        /// What it names.
        input: Digest,
    },
    /// A vertex depends on itself.
    #[error("vertex {0} depends on itself through its inputs; remove the cycle")]
    Cycle(Digest),
}

/// A checked graph: digests are unique, inputs exist, and nothing depends on itself.
#[derive(Debug)]
pub struct Graph<O> {
    /// Inputs stand before what uses them.
    pub(crate) vertices: Vec<Vertex<O>>,
    by_digest: HashMap<Digest, usize>,
}

impl<O> Graph<O> {
    /// Checks the vertices, in any order, and brings inputs before their users.
    pub fn new(vertices: Vec<Vertex<O>>) -> Result<Self, GraphError> {
        let mut index = HashMap::with_capacity(vertices.len());
        for (position, vertex) in vertices.iter().enumerate() {
            if index.insert(vertex.digest.clone(), position).is_some() {
                return Err(GraphError::Duplicate(vertex.digest.clone()));
            }
        }
        let order = topological(&vertices, &index)?;
        let mut slots: Vec<Option<Vertex<O>>> = vertices.into_iter().map(Some).collect();
        let vertices: Vec<Vertex<O>> = order
            .into_iter()
            .filter_map(|position| slots[position].take())
            .collect();
        let by_digest = vertices
            .iter()
            .enumerate()
            .map(|(position, vertex)| (vertex.digest.clone(), position))
            .collect();
        Ok(Self {
            vertices,
            by_digest,
        })
    }

    /// The vertices, inputs before their users.
    pub fn vertices(&self) -> &[Vertex<O>] {
        &self.vertices
    }

    /// The vertex of this digest.
    pub fn get(&self, digest: &Digest) -> Option<&Vertex<O>> {
        self.by_digest
            .get(digest)
            .map(|position| &self.vertices[*position])
    }

    /// Position in [`Graph::vertices`] of the vertex of this digest.
    pub(crate) fn position(&self, digest: &Digest) -> Option<usize> {
        self.by_digest.get(digest).copied()
    }
}

/// Positions so that inputs come first. Iterative: graphs come from outside
/// and may be deep.
fn topological<O>(
    vertices: &[Vertex<O>],
    index: &HashMap<Digest, usize>,
) -> Result<Vec<usize>, GraphError> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Placed,
    }
    let mut marks = vec![Mark::New; vertices.len()];
    let mut order = Vec::with_capacity(vertices.len());
    for start in 0..vertices.len() {
        if marks[start] != Mark::New {
            continue;
        }
        marks[start] = Mark::Open;
        let mut stack = vec![(start, 0)];
        while let Some((position, next)) = stack.pop() {
            let vertex = &vertices[position];
            let Some(input) = vertex.inputs.get(next) else {
                marks[position] = Mark::Placed;
                order.push(position);
                continue;
            };
            stack.push((position, next + 1));
            let target = *index
                .get(&input.vertex)
                .ok_or_else(|| GraphError::Dangling {
                    vertex: vertex.digest.clone(),
                    input: input.vertex.clone(),
                })?;
            match marks[target] {
                Mark::New => {
                    marks[target] = Mark::Open;
                    stack.push((target, 0));
                }
                Mark::Open => return Err(GraphError::Cycle(vertices[target].digest.clone())),
                Mark::Placed => {}
            }
        }
    }
    Ok(order)
}
