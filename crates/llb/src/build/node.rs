//! The ops of a graph under construction.

use super::constraints::Constraints;
use super::exec::ExecNode;
use super::file::FileNode;
use crate::graph::Vertex;
use oci_spec::image::Platform;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// An op that is not encoded yet.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    pub(crate) constraints: Constraints,
}

#[derive(Debug)]
pub(crate) enum NodeKind {
    Source {
        identifier: String,
        attrs: BTreeMap<String, String>,
    },
    Exec(ExecNode),
    File(FileNode),
    Merge(Vec<Output>),
    Diff {
        lower: Option<Output>,
        upper: Option<Output>,
    },
    Passthrough {
        id: String,
        inputs: Vec<Output>,
        outputs: Vec<usize>,
    },
    /// Stands for a state that is not known yet; none once it turns out to be scratch.
    Deferred(OnceLock<Option<Output>>),
    /// An op of a received definition: its bytes are kept.
    Encoded {
        vertex: Box<Vertex>,
        inputs: Vec<Output>,
    },
}

/// One output of an op under construction.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) node: Arc<Node>,
    pub(crate) index: usize,
    /// The platform the op was asked to run on, if it was.
    pub(crate) platform: Option<Platform>,
}

impl Output {
    pub(crate) fn first(node: Node) -> Self {
        let platform = match node.kind {
            NodeKind::Source { .. } => node.constraints.platform.clone(),
            _ => None,
        };
        Self {
            node: Arc::new(node),
            index: 0,
            platform,
        }
    }

    fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.node, &other.node) && self.index == other.index
    }

    /// The output itself, or what it was deferred to. None is scratch.
    pub(crate) fn resolved(&self) -> Option<&Self> {
        match &self.node.kind {
            NodeKind::Deferred(target) => target.get()?.as_ref()?.resolved(),
            _ => Some(self),
        }
    }
}

impl Node {
    /// The ops this one consumes, in the order in which a definition lists them.
    pub(crate) fn inputs(&self) -> Vec<&Output> {
        let all: Vec<&Output> = match &self.kind {
            NodeKind::Source { .. } | NodeKind::Deferred(_) => Vec::new(),
            NodeKind::Exec(exec) => exec
                .mounts
                .iter()
                .filter_map(|it| it.source.as_ref())
                .collect(),
            NodeKind::File(file) => file.inputs(),
            NodeKind::Merge(inputs)
            | NodeKind::Passthrough { inputs, .. }
            | NodeKind::Encoded { inputs, .. } => inputs.iter().collect(),
            NodeKind::Diff { lower, upper } => lower.iter().chain(upper).collect(),
        };
        let mut unique: Vec<&Output> = Vec::with_capacity(all.len());
        for output in all.into_iter().filter_map(Output::resolved) {
            if !unique.iter().any(|known| known.same(output)) {
                unique.push(output);
            }
        }
        unique
    }
}

/// Chains of ops may be longer than a thread's stack is deep, so dropping one must not recurse.
impl Drop for Node {
    fn drop(&mut self) {
        let mut open = Vec::new();
        self.kind.take_outputs(&mut open);
        while let Some(output) = open.pop() {
            if let Some(mut node) = Arc::into_inner(output.node) {
                node.kind.take_outputs(&mut open);
            }
        }
    }
}

impl NodeKind {
    /// Moves everything that holds on to other nodes.
    fn take_outputs(&mut self, into: &mut Vec<Output>) {
        match self {
            Self::Source { .. } => {}
            Self::Exec(exec) => {
                into.extend(exec.mounts.iter_mut().filter_map(|it| it.source.take()))
            }
            Self::File(file) => into.extend(file.take_outputs()),
            Self::Merge(inputs)
            | Self::Passthrough { inputs, .. }
            | Self::Encoded { inputs, .. } => {
                into.append(inputs);
            }
            Self::Diff { lower, upper } => {
                into.extend(lower.take().into_iter().chain(upper.take()))
            }
            Self::Deferred(target) => into.extend(target.take().flatten()),
        }
    }
}
