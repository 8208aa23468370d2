//! A definition with other sources in it.

use std::collections::HashMap;
use std::hash::BuildHasher;

use bytes::Bytes;
use kiln_protocol::pb::{self, op};
use oci_spec::image::Digest;
use prost::Message as _;

use crate::{Definition, Graph, digest_of, encode_op};

impl Definition {
    /// This with other sources, `graph` being the graph of this. Ops that depend on them get new
    /// digests, under which everything that was known about them is known now.
    pub fn with_sources<S: BuildHasher>(
        &self,
        graph: &Graph,
        mut sources: HashMap<Digest, pb::SourceOp, S>,
    ) -> Self {
        let mut renamed = Renamed::default();
        let mut ops = Vec::with_capacity(self.ops.len());
        for vertex in &graph.vertices {
            let mut changed = vertex.op.clone();
            if let Some(source) = sources.remove(&vertex.digest) {
                changed.op = Some(op::Op::Source(source));
            }
            ops.push(renamed.encode(&vertex.digest, &vertex.bytes, changed, &vertex.op));
        }
        if let Some(terminal) = self.ops.last()
            && let Ok(op) = pb::Op::decode(terminal.clone())
        {
            ops.push(renamed.encode(&digest_of(terminal), terminal, op.clone(), &op));
        }
        let mut definition = self.clone();
        definition.ops = ops;
        definition.metadata = renamed.keys(definition.metadata);
        if let Some(source) = &mut definition.source {
            source.locations = renamed.keys(std::mem::take(&mut source.locations));
        }
        definition
    }
}

/// New digests by old ones.
#[derive(Default)]
struct Renamed(HashMap<String, String>);

impl Renamed {
    /// The bytes of an op whose inputs may have got other digests; those it had if nothing changed.
    fn encode(&mut self, digest: &Digest, bytes: &Bytes, mut op: pb::Op, before: &pb::Op) -> Bytes {
        for input in &mut op.inputs {
            if let Some(new) = self.0.get(&input.digest) {
                input.digest.clone_from(new);
            }
        }
        if op == *before {
            return bytes.clone();
        }
        let bytes = encode_op(&op);
        self.0
            .insert(digest.to_string(), digest_of(&bytes).to_string());
        bytes
    }

    fn keys<M, T>(&self, map: M) -> M
    where
        M: IntoIterator<Item = (String, T)> + FromIterator<(String, T)>,
    {
        let rename = |key: String| self.0.get(&key).cloned().unwrap_or(key);
        map.into_iter()
            .map(|(key, value)| (rename(key), value))
            .collect()
    }
}
