//! What frontends did during a build.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_llb::pb;
use kiln_llb::{Definition, Edge, Vertex, digest_of};
use oci_spec::image::Digest;

use super::images::ImageSource;
use super::request::Inputs;
use crate::ops::EngineOp;
use crate::request::Attributes;

/// What a frontend was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrontendRequest {
    /// Its name, such as `dockerfile.v0`; empty for a client that brings definitions of its own.
    pub(crate) frontend: String,
    /// Its options.
    pub(crate) options: Attributes,
    /// Which requests made what it was given to build on.
    pub(crate) inputs: Inputs,
}

/// What one frontend request solved and looked up, and what other frontends did for it.
pub(crate) struct Ledger {
    /// `None` for a client that brings definitions of its own.
    pub(super) request: Option<Arc<FrontendRequest>>,
    /// What the whole build was asked for: the first request that says anything.
    pub(super) root: Option<Arc<FrontendRequest>>,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    traces: Vec<Arc<Trace>>,
    images: Vec<ImageSource>,
    below: Vec<Arc<Ledger>>,
}

impl Ledger {
    /// The ledger of a whole build.
    pub(crate) fn new(request: FrontendRequest) -> Arc<Self> {
        let FrontendRequest {
            frontend,
            options,
            inputs,
        } = &request;
        let is_empty = frontend.is_empty() && options.is_empty() && inputs.is_empty();
        let request = Arc::new(request);
        Arc::new(Self {
            root: (!is_empty).then(|| request.clone()),
            request: Some(request).filter(|request| !request.frontend.is_empty()),
            entries: Mutex::default(),
        })
    }

    /// The ledger of a request made while this one is served.
    pub(crate) fn child(&self, request: FrontendRequest) -> Arc<Self> {
        let root = self.root.clone().or_else(|| self.request.clone());
        let child = Arc::new(Self {
            request: Some(Arc::new(request)),
            root,
            entries: Mutex::default(),
        });
        self.entries().below.push(child.clone());
        child
    }

    /// Notes a definition that was solved. One that was solved before counts as it came to be now.
    pub(crate) fn solved(&self, trace: Arc<Trace>) {
        let traces = &mut self.entries().traces;
        traces.retain(|known| known.terminal != trace.terminal);
        traces.push(trace);
    }

    /// Notes an image that was looked up.
    pub(crate) fn looked_up(&self, image: ImageSource) {
        self.entries().images.push(image);
    }

    /// All that was solved, by this request and those below.
    pub(super) fn traces(&self) -> Vec<Arc<Trace>> {
        let entries = self.entries();
        let below = entries.below.iter().flat_map(|ledger| ledger.traces());
        entries.traces.iter().cloned().chain(below).collect()
    }

    /// All images that were looked up, by this request and those below.
    pub(super) fn images(&self) -> Vec<ImageSource> {
        let entries = self.entries();
        let below = entries.below.iter().flat_map(|ledger| ledger.images());
        entries.images.iter().cloned().chain(below).collect()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which request a solution belongs to.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) ledger: Arc<Ledger>,
    /// `None` for an empty definition.
    pub(crate) trace: Option<Arc<Trace>>,
}

/// A definition that was solved, with the ops that did it.
pub(crate) struct Trace {
    /// Inputs before their users.
    pub(super) vertices: Vec<(Vertex, Arc<EngineOp>)>,
    pub(super) root: Edge,
    /// The op that only names the result.
    pub(super) terminal: Option<Digest>,
    pub(super) source: Option<pb::Source>,
}

impl Trace {
    /// The vertices, inputs before their users, with what runs them.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (&Vertex, &EngineOp)> {
        let vertices = self.vertices.iter();
        vertices.map(|(vertex, op)| (vertex, op.as_ref()))
    }

    pub(crate) fn new(
        definition: &Definition,
        root: Edge,
        vertices: Vec<(Vertex, Arc<EngineOp>)>,
    ) -> Arc<Self> {
        Arc::new(Self {
            vertices,
            root,
            terminal: definition.ops.last().map(digest_of),
            source: definition.source.clone(),
        })
    }
}
