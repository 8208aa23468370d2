//! A received definition as a state to build on.

use super::node::{Node, NodeKind, Output};
use super::state::State;
use crate::definition::Definition;
use crate::graph::{Edge, Graph, LoadError, Vertex};
use crate::platform;
use oci_spec::image::Digest;
use std::collections::HashMap;
use std::sync::Arc;

impl State {
    /// The result of `definition`, whose ops keep their bytes.
    pub fn from_definition(definition: &Definition) -> Result<Self, LoadError> {
        let graph = Graph::load(definition)?;
        let mut nodes: HashMap<Digest, Arc<Node>> = HashMap::new();
        for vertex in graph.vertices {
            let digest = vertex.digest.clone();
            let inputs = vertex
                .inputs
                .iter()
                .filter_map(|edge| output(&nodes, edge))
                .collect();
            let node = Node {
                constraints: locations(definition, &vertex),
                kind: NodeKind::Encoded {
                    vertex: Box::new(vertex),
                    inputs,
                },
            };
            nodes.insert(digest, Arc::new(node));
        }
        let root = graph.root.and_then(|root| output(&nodes, &root));
        Ok(Self::from_output(root))
    }
}

fn output(nodes: &HashMap<Digest, Arc<Node>>, edge: &Edge) -> Option<Output> {
    let node = nodes.get(&edge.vertex)?.clone();
    let platform = match &node.kind {
        NodeKind::Encoded { vertex, .. } => vertex.op.platform.as_ref().map(platform::from_pb),
        _ => None,
    };
    Some(Output {
        node,
        index: edge.output,
        platform,
    })
}

fn locations(definition: &Definition, vertex: &Vertex) -> super::Constraints {
    let mut constraints = super::Constraints::new();
    let Some(source) = &definition.source else {
        return constraints;
    };
    let known = source.locations.get(vertex.digest.as_ref());
    for location in known.iter().flat_map(|it| &it.locations) {
        let index = usize::try_from(location.source_index).ok();
        let Some(info) = index.and_then(|it| source.infos.get(it)) else {
            continue;
        };
        let map = Arc::new(super::SourceMap {
            definition: info.definition.clone().map(Into::into),
            filename: info.filename.clone(),
            language: info.language.clone(),
            data: info.data.clone(),
        });
        constraints = constraints.location(&map, location.ranges.clone());
    }
    constraints
}
