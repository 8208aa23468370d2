//! Encoding a state and everything it stands on.

use super::constraints::{Constraints, merge_metadata};
use super::node::{Node, NodeKind, Output};
use super::source_map::Collector;
use super::state::State;
use crate::caps::{self, Caps};
use crate::definition::Definition;
use crate::digest::digest_of;
use crate::encode::encode_op;
use crate::{attr, platform};
use bytes::Bytes;
use kiln_protocol::pb::{self, op};
use oci_spec::image::Digest;
use std::collections::{HashMap, HashSet};

/// Defaults for every op of a definition.
#[derive(Clone, Debug)]
pub struct MarshalOptions {
    /// Platform, filters and metadata for ops that say nothing themselves; the platform is this
    /// machine's unless given.
    pub constraints: Constraints,
    /// What the server has, if known.
    pub caps: Option<Caps>,
}

impl Default for MarshalOptions {
    fn default() -> Self {
        Self {
            constraints: Constraints::new().platform(platform::host()),
            caps: None,
        }
    }
}

/// Why a state cannot be encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarshalError {
    /// A process without arguments.
    #[error("arguments are required")]
    NoArguments,
    /// A process without a working directory.
    #[error("working directory is required")]
    NoDirectory,
    /// A tmpfs that starts from files.
    #[error("tmpfs mounts must use scratch, the one on {0} has a source")]
    TmpfsSource(String),
    /// A file op without actions.
    #[error("action is required")]
    NoActions,
    /// A source without identifier.
    #[error("source identifier can't be empty")]
    NoIdentifier,
    /// A passthrough that passes nothing or has no id.
    #[error("passthrough requires an id and at least one output")]
    EmptyPassthrough,
    /// An op that is used before it is encoded; the walk never does this.
    #[error("internal error: an input was not encoded before its user")]
    Order,
}

/// One encoded op.
pub(crate) struct Encoded {
    pub(crate) bytes: Bytes,
    pub(crate) metadata: pb::OpMetadata,
}

/// What encoding an op needs to know.
pub(crate) struct Context<'a> {
    pub(crate) options: &'a MarshalOptions,
    digests: HashMap<*const Node, Digest>,
}

/// The index of an input that is empty.
pub(crate) const NO_INPUT: i64 = -1;

impl Context<'_> {
    /// The wire form of an edge to an op that is encoded already.
    fn input(&self, output: &Output) -> Result<pb::Input, MarshalError> {
        let node: *const Node = &*output.node;
        let digest = self.digests.get(&node).ok_or(MarshalError::Order)?;
        Ok(pb::Input {
            digest: digest.to_string(),
            index: output.index as i64,
        })
    }

    /// Adds an edge to `inputs` unless it is there; returns its index.
    pub(crate) fn add_input(
        &self,
        inputs: &mut Vec<pb::Input>,
        output: Option<&Output>,
    ) -> Result<i64, MarshalError> {
        let Some(output) = output.and_then(Output::resolved) else {
            return Ok(NO_INPUT);
        };
        let input = self.input(output)?;
        let known = inputs.iter().position(|it| *it == input);
        let index = known.unwrap_or_else(|| {
            inputs.push(input);
            inputs.len() - 1
        });
        Ok(index as i64)
    }
}

impl State {
    /// Encodes this state and all it stands on.
    pub fn marshal(&self, options: &MarshalOptions) -> Result<Definition, MarshalError> {
        let Some(output) = self.output.as_ref().and_then(Output::resolved) else {
            return Ok(Definition::default());
        };
        let mut definition = Definition::default();
        let mut collector = Collector::default();
        let mut encoded_digests = HashSet::new();
        let mut context = Context {
            options,
            digests: HashMap::new(),
        };
        for node in inputs_first(&output.node) {
            let encoded = encode(node, &context)?;
            let digest = digest_of(&encoded.bytes);
            let metadata = definition.metadata.entry(digest.to_string()).or_default();
            merge_metadata(metadata, &encoded.metadata);
            collector.add(&digest, &node.constraints.locations);
            if encoded_digests.insert(digest.clone()) {
                definition.ops.push(encoded.bytes);
            }
            context.digests.insert(node, digest);
        }
        let terminal = pb::Op {
            inputs: vec![context.input(output)?],
            ..Default::default()
        };
        let bytes = encode_op(&terminal);
        let digest = digest_of(&bytes).to_string();
        let metadata = terminal_metadata(&definition);
        definition.metadata.insert(digest, metadata);
        definition.ops.push(bytes);
        definition.source = Some(collector.finish());
        Ok(definition)
    }
}

/// The terminal op asks for the caps which the metadata of all others needs.
fn terminal_metadata(definition: &Definition) -> pb::OpMetadata {
    let mut constraints = Constraints::new()
        .cap(caps::CONSTRAINTS)
        .cap(caps::PLATFORM);
    for metadata in definition.metadata.values() {
        if metadata.ignore_cache {
            constraints.require(caps::META_IGNORE_CACHE);
        }
        if !metadata.description.is_empty() {
            constraints.require(caps::META_DESCRIPTION);
        }
        if metadata.export_cache.is_some() {
            constraints.require(caps::META_EXPORT_CACHE);
        }
    }
    constraints.metadata
}

/// Every node below `root`, inputs before users, in the order of a depth-first walk. The walk keeps
/// its own stack: chains of ops may be longer than a thread's stack is deep.
fn inputs_first(root: &Node) -> Vec<&Node> {
    let mut order = Vec::new();
    let mut seen: HashSet<*const Node> = HashSet::new();
    let mut stack = vec![(root, root.inputs(), 0)];
    seen.insert(root);
    while let Some((node, inputs, next)) = stack.last_mut() {
        match inputs.get(*next) {
            Some(output) => {
                *next += 1;
                let input: &Node = &output.node;
                if seen.insert(input) {
                    stack.push((input, input.inputs(), 0));
                }
            }
            None => {
                order.push(*node);
                stack.pop();
            }
        }
    }
    order
}

fn encode(node: &Node, context: &Context<'_>) -> Result<Encoded, MarshalError> {
    let mut constraints = node.constraints.clone();
    let base = &context.options.constraints;
    let op = match &node.kind {
        // The walk only meets what deferred outputs resolve to.
        NodeKind::Deferred(_) => return Err(MarshalError::Order),
        NodeKind::Encoded { vertex, .. } => {
            return Ok(Encoded {
                bytes: vertex.bytes.clone(),
                metadata: vertex.metadata.clone(),
            });
        }
        NodeKind::Exec(exec) => super::marshal_exec::exec_op(exec, &mut constraints, context)?,
        NodeKind::File(file) => super::marshal_file::file_op(file, &mut constraints, context)?,
        NodeKind::Source { identifier, attrs } => {
            let source = source_op(identifier, attrs.clone(), &mut constraints, base)?;
            let mut op = constraints.frame(base);
            if !["docker-image://", "oci-layout://"]
                .iter()
                .any(|it| identifier.starts_with(it))
            {
                op.platform = None;
            }
            op.op = Some(op::Op::Source(source));
            op
        }
        NodeKind::Merge(inputs) => combined(&constraints, context, inputs.iter(), |count| {
            let inputs = (0..count).map(|input| pb::MergeInput { input }).collect();
            op::Op::Merge(pb::MergeOp { inputs })
        })?,
        NodeKind::Diff { lower, upper } => {
            let start = i64::from(lower.is_some());
            combined(&constraints, context, lower.iter().chain(upper), |_| {
                let lower = pb::LowerDiffInput {
                    input: if lower.is_some() { 0 } else { -1 },
                };
                let upper = pb::UpperDiffInput {
                    input: if upper.is_some() { start } else { -1 },
                };
                op::Op::Diff(pb::DiffOp {
                    lower: Some(lower),
                    upper: Some(upper),
                })
            })?
        }
        NodeKind::Passthrough {
            id,
            inputs,
            outputs,
        } => {
            if id.is_empty() || outputs.is_empty() {
                return Err(MarshalError::EmptyPassthrough);
            }
            combined(&constraints, context, inputs.iter(), |_| {
                op::Op::Passthrough(pb::PassthroughOp {
                    id: id.clone(),
                    outputs: outputs.iter().map(|it| *it as i64).collect(),
                })
            })?
        }
    };
    let mut metadata = base.metadata.clone();
    merge_metadata(&mut metadata, &constraints.metadata);
    Ok(Encoded {
        bytes: encode_op(&op),
        metadata,
    })
}

/// An op over whole inputs, which is not tied to a platform.
fn combined<'a>(
    constraints: &Constraints,
    context: &Context<'_>,
    inputs: impl Iterator<Item = &'a Output>,
    action: impl FnOnce(i64) -> op::Op,
) -> Result<pb::Op, MarshalError> {
    let inputs: Vec<_> = inputs
        .filter_map(Output::resolved)
        .map(|it| context.input(it))
        .collect::<Result<_, _>>()?;
    let mut op = constraints.frame(&context.options.constraints);
    op.platform = None;
    op.op = Some(action(inputs.len() as i64));
    op.inputs = inputs;
    Ok(op)
}

fn source_op(
    identifier: &str,
    mut attrs: std::collections::BTreeMap<String, String>,
    constraints: &mut Constraints,
    base: &Constraints,
) -> Result<pb::SourceOp, MarshalError> {
    if identifier.is_empty() {
        return Err(MarshalError::NoIdentifier);
    }
    if identifier.starts_with("local://") && !attrs.contains_key(attr::LOCAL_SESSION) {
        let unique = constraints
            .local_unique_id
            .as_ref()
            .or(base.local_unique_id.as_ref());
        attrs.insert(
            attr::LOCAL_UNIQUE.into(),
            unique.cloned().unwrap_or_default(),
        );
        constraints.require(caps::SOURCE_LOCAL_UNIQUE);
    }
    Ok(pb::SourceOp {
        identifier: identifier.into(),
        attrs,
    })
}
