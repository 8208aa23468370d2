//! `BuildOp`: a build whose definition is a file that another step made.

use async_trait::async_trait;
use bytes::Bytes;
use kiln_llb::pb::{self, op};
use kiln_llb::{Definition, Graph};
use kiln_solver::{CacheMap, OpContext};

use super::{Output, digest, input_at, plain_cache_map};
use crate::bridge::Bridge;
use crate::error::{BuildError, Kind};
use crate::jobs::Builder;
use crate::worker::Worker;

/// `BuildOp.builder` of the only builder there is, which solves LLB.
const LLB_BUILDER: i64 = -1;
/// Key of the input with the definition, and the file there unless [`FILENAME`] names another.
const DEFINITION: &str = "buildkit.llb.definition";
/// Attribute with the file's path.
const FILENAME: &str = "llbbuild.filename";
/// A larger file is no definition.
const MAX_BYTES: usize = 64 << 20;

pub(super) struct BuildOp {
    op: pb::BuildOp,
    inputs: usize,
}

impl BuildOp {
    pub(super) fn new(op: &pb::BuildOp, inputs: usize) -> Result<Self, BuildError> {
        if op.builder != LLB_BUILDER {
            return Err(invalid("only LLB builder is currently allowed"));
        }
        if op.def.is_some() {
            let error = invalid("a build op with a definition of its own (Def) is not supported");
            return Err(error.hint(format!(
                "put the definition into a file of input {DEFINITION}"
            )));
        }
        if !op.inputs.contains_key(DEFINITION) {
            return Err(invalid(format!(
                "no llb definition input {DEFINITION} found"
            )));
        }
        Ok(Self {
            op: op.clone(),
            inputs,
        })
    }

    pub(super) fn cache_map(&self) -> CacheMap {
        plain_cache_map(digest::build(&self.op), self.inputs)
    }

    /// Solves the definition for the first of the builds that want it and does not leave before it is done.
    pub(super) async fn execute(
        &self,
        worker: &Worker,
        cx: &OpContext,
        inputs: &[Output],
    ) -> Result<Vec<Output>, BuildError> {
        let index = self
            .op
            .inputs
            .get(DEFINITION)
            .map_or(-1, |input| input.input);
        let index =
            usize::try_from(index).map_err(|_| invalid(format!("invalid index {index}")))?;
        let input = input_at(inputs, index)?;
        let mut outcome = Err(BuildError::new(
            Kind::Cancelled,
            "no build is left that wants this step",
        ));
        for builder in worker.jobs.builders(cx) {
            outcome = self.solve(&*builder, input).await;
            if !matches!(&outcome, Err(error) if error.kind == Kind::Cancelled) {
                break;
            }
        }
        Ok(vec![outcome?])
    }

    async fn solve(&self, builder: &dyn Builder, input: &Output) -> Result<Output, BuildError> {
        let file = self
            .op
            .attrs
            .get(FILENAME)
            .map_or(DEFINITION, String::as_str);
        let bytes = builder.read(input, file, MAX_BYTES).await?;
        let bytes = bytes.ok_or_else(|| invalid(format!("failed to open {file}: no such file")))?;
        if bytes.len() == MAX_BYTES {
            return Err(invalid(format!(
                "{file} has {MAX_BYTES} bytes or more, which no definition has"
            )));
        }
        let wrong = |error: BuildError| error.context(format!("definition in {file}"));
        let definition = Definition::decode(bytes);
        let definition = definition.map_err(|error| wrong(BuildError::wrap(Kind::Input, error)))?;
        refuse_nesting(&definition).map_err(wrong)?;
        builder.build(&definition).await
    }
}

#[async_trait]
impl Builder for Bridge {
    async fn read(
        &self,
        tree: &Output,
        path: &str,
        limit: usize,
    ) -> Result<Option<Bytes>, BuildError> {
        self.read_file(tree, path, Some(limit)).await
    }

    async fn build(&self, definition: &Definition) -> Result<Output, BuildError> {
        Ok(self.solve(definition).await?.output)
    }

    async fn judge_request(&self, url: &str) -> Result<Option<String>, BuildError> {
        self.govern_request(url).await
    }
}

/// A build in a build in a build could wait for itself, for ever.
fn refuse_nesting(definition: &Definition) -> Result<(), BuildError> {
    let graph = Graph::load(definition).map_err(|error| BuildError::wrap(Kind::Input, error))?;
    let is_build = |vertex: &kiln_llb::Vertex| matches!(vertex.op.op, Some(op::Op::Build(_)));
    match graph.vertices.iter().any(is_build) {
        true => Err(invalid(
            "a build op in the definition of another one is not supported",
        )),
        false => Ok(()),
    }
}

fn invalid(message: impl Into<String>) -> BuildError {
    BuildError::new(Kind::Input, message)
}
