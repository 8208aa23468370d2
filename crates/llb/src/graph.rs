//! Loading a definition: decoding every op and proving that they form a graph.

use crate::definition::Definition;
use crate::digest::digest_of;
use bytes::Bytes;
use kiln_protocol::pb::{self, op};
use oci_spec::image::Digest;
use prost::Message as _;
use std::collections::{HashMap, HashSet};

/// More ops than this in one definition are refused.
pub const MAX_OPS: usize = 100_000;
/// An op of more bytes than this is refused.
pub const MAX_OP_BYTES: usize = 64 << 20;

/// A validated graph of ops.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Inputs before their users; only what the result needs.
    pub vertices: Vec<Vertex>,
    /// The result; none when it is scratch.
    pub root: Option<Edge>,
}

/// One op of a graph.
#[derive(Clone, Debug)]
pub struct Vertex {
    /// The hash of `bytes`.
    pub digest: Digest,
    /// The decoded op.
    pub op: pb::Op,
    /// The op as received.
    pub bytes: Bytes,
    /// What it consumes, in the order its own indexes refer to.
    pub inputs: Vec<Edge>,
    /// Facts which are not part of its identity.
    pub metadata: pb::OpMetadata,
}

/// One output of one op.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Edge {
    /// The op.
    pub vertex: Digest,
    /// Which of its outputs.
    pub output: usize,
}

/// Why a definition is no graph.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// An op does not decode.
    #[error("failed to parse llb proto op {index}: {source}")]
    Malformed {
        /// Position in the definition.
        index: usize,
        /// What the decoder said.
        source: prost::DecodeError,
    },
    /// Too many or too large ops.
    #[error("definition exceeds the limit: {0}")]
    TooLarge(String),
    /// The last op does more than point at the result.
    #[error(
        "invalid definition: the last op must be the terminal one, with exactly one input and no action"
    )]
    NoTerminal,
    /// An op has neither an action nor the last place.
    #[error("invalid definition: op {digest} has no action")]
    NoAction {
        /// The op.
        digest: Digest,
    },
    /// An input refers to an op that is not there or is the terminal one.
    #[error("invalid missing input digest {input} of op {digest}")]
    Dangling {
        /// The op.
        digest: String,
        /// What it refers to.
        input: String,
    },
    /// An index which cannot exist.
    #[error("invalid {what} index {index} in op {digest}")]
    Index {
        /// The op.
        digest: String,
        /// What is indexed.
        what: &'static str,
        /// The index.
        index: i64,
    },
}

impl Graph {
    /// Decodes and validates `definition`. Ops that the result does not need are dropped; the order
    /// of the ops in the definition does not matter, but the terminal one is last.
    pub fn load(definition: &Definition) -> Result<Self, LoadError> {
        check_limits(definition)?;
        let Some((terminal, ops)) = definition.ops.split_last() else {
            return Ok(Self {
                vertices: Vec::new(),
                root: None,
            });
        };
        let mut pool = HashMap::with_capacity(ops.len());
        for (index, bytes) in ops.iter().enumerate() {
            pool.insert(digest_of(bytes), (decode(index, bytes)?, bytes.clone()));
        }
        let last = decode(ops.len(), terminal)?;
        if last.op.is_some() || last.inputs.len() != 1 {
            return Err(LoadError::NoTerminal);
        }
        let inputs = load_inputs(digest_of(terminal).as_ref(), &last, &pool)?;
        let root = inputs.into_iter().next().ok_or(LoadError::NoTerminal)?;
        Ok(Self {
            vertices: sort(definition, &pool, &root)?,
            root: Some(root),
        })
    }

    /// The vertex with this digest.
    pub fn vertex(&self, digest: &Digest) -> Option<&Vertex> {
        self.vertices.iter().find(|vertex| vertex.digest == *digest)
    }
}

/// Decoded ops and their bytes, by digest.
type Pool = HashMap<Digest, (pb::Op, Bytes)>;

fn check_limits(definition: &Definition) -> Result<(), LoadError> {
    if definition.ops.len() > MAX_OPS {
        return Err(LoadError::TooLarge(format!(
            "{} ops, at most {MAX_OPS} are accepted",
            definition.ops.len()
        )));
    }
    match definition.ops.iter().find(|op| op.len() > MAX_OP_BYTES) {
        Some(op) => Err(LoadError::TooLarge(format!(
            "an op of {} bytes, at most {MAX_OP_BYTES} are accepted",
            op.len()
        ))),
        None => Ok(()),
    }
}

fn decode(index: usize, bytes: &Bytes) -> Result<pb::Op, LoadError> {
    pb::Op::decode(bytes.clone()).map_err(|source| LoadError::Malformed { index, source })
}

/// What the result needs, inputs first. An op's digest covers its inputs' digests, so there can be
/// no cycle; the walk keeps its own stack because a chain may be long.
fn sort(definition: &Definition, pool: &Pool, root: &Edge) -> Result<Vec<Vertex>, LoadError> {
    let mut vertices = Vec::with_capacity(pool.len());
    let mut seen = HashSet::from([root.vertex.clone()]);
    let mut stack = vec![(load_vertex(definition, pool, &root.vertex)?, 0)];
    while let Some((vertex, next)) = stack.last_mut() {
        match vertex.inputs.get(*next) {
            Some(edge) => {
                *next += 1;
                let digest = edge.vertex.clone();
                if seen.insert(digest.clone()) {
                    stack.push((load_vertex(definition, pool, &digest)?, 0));
                }
            }
            None => vertices.extend(stack.pop().map(|(vertex, _)| vertex)),
        }
    }
    Ok(vertices)
}

fn load_vertex(definition: &Definition, pool: &Pool, digest: &Digest) -> Result<Vertex, LoadError> {
    let Some((op, bytes)) = pool.get(digest) else {
        return Err(LoadError::Dangling {
            digest: digest.to_string(),
            input: digest.to_string(),
        });
    };
    let inputs = load_inputs(digest.as_ref(), op, pool)?;
    match &op.op {
        Some(action) => crate::validate::check_indexes(digest.as_ref(), action, inputs.len())?,
        None => {
            return Err(LoadError::NoAction {
                digest: digest.clone(),
            });
        }
    }
    let metadata = definition.metadata.get(digest.as_ref());
    Ok(Vertex {
        digest: digest.clone(),
        op: op.clone(),
        bytes: bytes.clone(),
        inputs,
        metadata: metadata.cloned().unwrap_or_default(),
    })
}

fn load_inputs(digest: &str, op: &pb::Op, pool: &Pool) -> Result<Vec<Edge>, LoadError> {
    let load = |input: &pb::Input| {
        let known = input.digest.parse::<Digest>().ok();
        let Some((vertex, (op, _))) = known.and_then(|it| pool.get_key_value(&it)) else {
            return Err(LoadError::Dangling {
                digest: digest.into(),
                input: input.digest.clone(),
            });
        };
        match usize::try_from(input.index) {
            Ok(output) if output < output_count(op) => Ok(Edge {
                vertex: vertex.clone(),
                output,
            }),
            _ => Err(LoadError::Index {
                digest: digest.into(),
                what: "output",
                index: input.index,
            }),
        }
    };
    op.inputs.iter().map(load).collect()
}

/// How many outputs an op has. An op whose changes are all discarded still has output 0 by name,
/// since clients point at it just to have the op run.
fn output_count(op: &pb::Op) -> usize {
    let highest =
        |indexes: &mut dyn Iterator<Item = i64>| indexes.max().unwrap_or(0).max(0) as usize + 1;
    match &op.op {
        Some(op::Op::Exec(exec)) => highest(&mut exec.mounts.iter().map(|mount| mount.output)),
        Some(op::Op::File(file)) => highest(&mut file.actions.iter().map(|action| action.output)),
        Some(op::Op::Passthrough(pass)) => pass.outputs.len(),
        _ => 1,
    }
}
