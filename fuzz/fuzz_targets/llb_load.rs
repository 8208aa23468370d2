//! Any bytes as a definition: it is refused or becomes a graph, which survives being written again.
#![no_main]

use std::collections::HashMap;

use kiln_llb::{Definition, Graph, digest_of, encode_op, json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(definition) = Definition::decode(bytes.to_vec().into()) else { return };
    assert!(!json::to_json(&definition).is_empty());
    let Ok(graph) = Graph::load(&definition) else { return };
    for vertex in &graph.vertices {
        assert_eq!(vertex.digest, digest_of(&vertex.bytes));
        encode_op(&vertex.op);
    }
    let again = Graph::load(&definition.with_sources(&graph, HashMap::new())).expect("as it was");
    assert_eq!(again.root, graph.root);
    assert_eq!(again.vertices.len(), graph.vertices.len());
});
