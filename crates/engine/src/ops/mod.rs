//! The ops of LLB as the solver runs them: one file per op, and the only
//! match from an LLB op to an engine op.

mod build;
mod content;
mod diff;
mod digest;
mod exec;
pub(crate) mod exec_io;
pub(crate) mod exec_mounts;
mod file;
mod file_actions;
mod file_copy;
mod go_json;
mod merge;
mod passthrough;
pub(crate) mod source;
pub(crate) mod transfer;

use std::sync::Arc;

use async_trait::async_trait;
use kiln_llb::pb::op;
use kiln_solver::{CacheDep, CacheMap, Op, OpContext, Permit};
use kiln_store::Ref;
use oci_spec::image::{Descriptor, Digest};

use crate::error::{BuildError, Kind};
use crate::provenance::Material;
use crate::step_network::Seen;
use crate::surroundings::Surroundings;
use crate::usage::StepUsage;
use crate::worker::Worker;

pub(crate) use digest::keyed_cache_id;

/// What an op produces: a tree of files, `None` for an empty one.
pub(crate) type Output = Option<Ref>;

/// An op bound to the worker that runs it.
pub(crate) struct EngineOp {
    worker: Arc<Worker>,
    name: String,
    action: Action,
}

enum Action {
    Source(Box<source::SourceOp>),
    Exec(Box<exec::ExecOp>),
    File(file::FileOp),
    Merge(merge::MergeOp),
    Diff(diff::DiffOp),
    Build(build::BuildOp),
    Passthrough(passthrough::PassthroughOp),
}

impl EngineOp {
    /// What a source op took in, as far as it is known by now.
    pub(crate) fn material(&self) -> Option<Material> {
        match &self.action {
            Action::Source(op) => op.material(),
            _ => None,
        }
    }

    /// Where the files of a source that it opened are, by name, and the blobs they are in.
    pub(crate) fn origin(&self) -> Option<(String, Vec<Descriptor>)> {
        match &self.action {
            Action::Source(op) => op.origin(),
            _ => None,
        }
    }

    /// What the vertex is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What a step used, if that is known.
    pub(crate) fn usage(&self) -> Option<StepUsage> {
        match &self.action {
            Action::Exec(op) => op.usage(),
            _ => None,
        }
    }

    /// What is known of the requests of a step to the network.
    pub(crate) fn seen(&self) -> Seen {
        match &self.action {
            Action::Exec(op) => op.seen(),
            _ => Seen::Nothing,
        }
    }

    /// Binds a vertex of LLB. `name` is what the vertex is called.
    pub(crate) fn new(
        worker: &Arc<Worker>,
        vertex: &kiln_llb::Vertex,
        name: &str,
        surroundings: Surroundings,
    ) -> Result<Self, BuildError> {
        let inputs = vertex.inputs.len();
        let platform = worker.platform_of(&vertex.op);
        let action = match &vertex.op.op {
            Some(op::Op::Source(source)) => {
                let opened = worker.opened.of(&vertex.digest);
                let op = source::SourceOp::new(source, platform, opened)?;
                Action::Source(Box::new(op.compatible_with(surroundings.compatibility)))
            }
            Some(op::Op::Exec(exec)) => {
                let resources = vertex.metadata.linux_resources.clone();
                let op = exec::ExecOp::new(exec, platform, inputs)?.with_resources(resources);
                Action::Exec(Box::new(op.with_network(surroundings.network)))
            }
            Some(op::Op::File(file)) => Action::File(file::FileOp::new(file, inputs, name)),
            Some(op::Op::Merge(merge)) => Action::Merge(merge::MergeOp::new(merge, inputs, name)),
            Some(op::Op::Diff(diff)) => Action::Diff(diff::DiffOp::new(diff, inputs, name)),
            Some(op::Op::Build(build)) => Action::Build(build::BuildOp::new(build, inputs)?),
            Some(op::Op::Passthrough(pass)) => {
                Action::Passthrough(passthrough::PassthroughOp::new(pass, inputs))
            }
            None => return Err(BuildError::new(Kind::Input, "LLB op without an action")),
        };
        Ok(Self {
            worker: worker.clone(),
            name: name.to_owned(),
            action,
        })
    }
}

#[async_trait]
impl Op for EngineOp {
    type Output = Output;
    type Error = BuildError;

    async fn cache_map(&self, cx: &OpContext, index: usize) -> Result<CacheMap, BuildError> {
        let map = match &self.action {
            Action::Source(op) => op.cache_map(&self.worker, cx, index).await,
            Action::Exec(op) => op.cache_map(),
            Action::File(op) => op.cache_map(),
            Action::Merge(op) => Ok(op.cache_map()),
            Action::Diff(op) => Ok(op.cache_map()),
            Action::Build(op) => Ok(op.cache_map()),
            Action::Passthrough(op) => Ok(op.cache_map()),
        };
        let map = map.map_err(|error| error.context("failed to load cache key"))?;
        let jobs = &self.worker.jobs;
        jobs.note(cx, |book| book.keyed(&cx.vertex, &map.digest));
        Ok(map)
    }

    async fn content_digest(
        &self,
        cx: &OpContext,
        input: usize,
        output: &Output,
    ) -> Result<Option<Digest>, BuildError> {
        let selectors = match &self.action {
            Action::Exec(op) => op.content_selectors(input),
            Action::File(op) => op.content_selectors(input),
            _ => return Ok(None),
        };
        let digest = content::digest(&self.worker, output.as_ref(), selectors.clone()).await;
        let digest = digest.map_err(|error| error.context("failed to compute cache key"))?;
        if let Some(digest) = &digest {
            let seen = (output.as_ref(), selectors.as_slice());
            let jobs = &self.worker.jobs;
            jobs.note(cx, |book| book.saw(&cx.vertex, input, seen, digest));
        }
        Ok(digest)
    }

    async fn prepare(
        &self,
        _cx: &OpContext,
        _input: usize,
        output: &Output,
    ) -> Result<(), BuildError> {
        match (&self.action, output) {
            (Action::Exec(_) | Action::File(_), Some(reference)) => {
                self.worker.caretaker.make_room().await;
                let made = reference.materialize().await;
                made.map_err(crate::tree::store_error)
            }
            _ => Ok(()),
        }
    }

    async fn acquire(&self, _cx: &OpContext) -> Result<Option<Permit>, BuildError> {
        let needs_slot = matches!(
            self.action,
            Action::Source(_) | Action::Exec(_) | Action::File(_)
        );
        let Some(slots) = self.worker.parallelism.as_ref().filter(|_| needs_slot) else {
            return Ok(None);
        };
        let permit = slots.clone().acquire_owned().await;
        let permit = permit.map_err(|error| BuildError::wrap(Kind::Internal, error))?;
        Ok(Some(Box::new(permit)))
    }

    async fn execute(
        &self,
        cx: &OpContext,
        inputs: Vec<Output>,
    ) -> Result<Vec<Output>, BuildError> {
        self.worker.jobs.note(cx, |book| book.runs(&cx.vertex));
        self.worker.caretaker.make_room().await;
        match &self.action {
            Action::Source(op) => op
                .execute(&self.worker, cx)
                .await
                .map(|output| vec![output]),
            Action::Exec(op) => op.execute(&self.worker, cx, inputs).await,
            Action::File(op) => op.execute(&self.worker, cx, inputs).await,
            Action::Merge(op) => op.execute(&self.worker, &inputs),
            Action::Diff(op) => op.execute(&self.worker, &inputs),
            Action::Build(op) => op.execute(&self.worker, cx, &inputs).await,
            Action::Passthrough(op) => op.execute(&inputs),
        }
    }
}

/// A cache map whose inputs count by their own keys alone.
fn plain_cache_map(digest: Digest, inputs: usize) -> CacheMap {
    CacheMap {
        digest,
        deps: vec![CacheDep::default(); inputs],
        more: false,
    }
}

/// An index that an op makes into its inputs; definitions are checked when
/// they are loaded, so a bad one is our own mistake.
fn input_at(inputs: &[Output], index: usize) -> Result<&Output, BuildError> {
    inputs.get(index).ok_or_else(|| {
        BuildError::new(
            Kind::Internal,
            format!("op asks for input {index} of {}", inputs.len()),
        )
    })
}
