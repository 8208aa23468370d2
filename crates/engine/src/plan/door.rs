//! The engine as a frontend sees it that only makes plans: nothing runs.

use async_trait::async_trait;
use bytes::Bytes;
use kiln_dockerfile::ResolvedConfig;
use kiln_dockerfile::known::{ImageQuestion, OciLayoutQuestion};
use kiln_frontend::{Door, Notice, SourceMeta};
use kiln_llb::{Definition, Graph, pb};

use crate::error::{BuildError, Kind};
use crate::ops::Output;

/// A door to what is there: images are looked up, and directories of the client are read.
pub(super) struct PlanDoor<'a>(pub(super) &'a dyn Door<Ref = Output, Error = BuildError>);

#[async_trait]
impl Door for PlanDoor<'_> {
    type Ref = Output;
    type Error = BuildError;

    async fn image_config(&self, question: &ImageQuestion) -> Result<ResolvedConfig, BuildError> {
        self.0.image_config(question).await
    }

    async fn layout_config(
        &self,
        question: &OciLayoutQuestion,
    ) -> Result<ResolvedConfig, BuildError> {
        self.0.layout_config(question).await
    }

    async fn source_meta(
        &self,
        source: &pb::SourceOp,
        log_name: &str,
    ) -> Result<SourceMeta, BuildError> {
        self.0.source_meta(source, log_name).await
    }

    async fn solve(&self, definition: &Definition) -> Result<Output, BuildError> {
        refuse_steps(definition)?;
        self.0.solve(definition).await
    }

    async fn read_file(
        &self,
        output: &Output,
        path: &str,
        limit: Option<usize>,
    ) -> Result<Option<Bytes>, BuildError> {
        self.0.read_file(output, path, limit).await
    }

    async fn warn(&self, notices: Vec<Notice>) {
        self.0.warn(notices).await;
    }
}

/// A Dockerfile that has to be made first would have to be made to be read.
fn refuse_steps(definition: &Definition) -> Result<(), BuildError> {
    let graph = Graph::load(definition).map_err(|error| BuildError::wrap(Kind::Input, error))?;
    let is_local = |vertex: &kiln_llb::Vertex| match &vertex.op.op {
        Some(pb::op::Op::Source(source)) => source.identifier.starts_with("local://"),
        _ => false,
    };
    match graph.vertices.iter().all(is_local) {
        true => Ok(()),
        false => Err(BuildError::new(
            Kind::Input,
            "a plan cannot read a Dockerfile that is not in a directory of the client",
        )
        .hint("fetch the context beforehand and give it with --local")),
    }
}
