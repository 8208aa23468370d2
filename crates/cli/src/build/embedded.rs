//! Builds with the engine in this process.

use std::sync::Arc;

use kiln_engine::{BuildRequest, Engine, Entitlement, ExportRequest, Frontend, StepNetwork};
use kiln_session::progress::ProgressSink;
use kiln_session::{Directories, Session};

use super::Outcome;
use super::output::Output;
use super::plan::{self, BuildPlan};
use crate::failure::Failure;

pub(super) async fn build(
    engine: &Engine,
    plan: BuildPlan,
    progress: ProgressSink,
) -> Result<Outcome, Failure> {
    let outcome = engine.build(request(plan, progress, Output::open)?).await?;
    Ok(Outcome {
        response: outcome.response,
        answer: outcome.subrequest,
    })
}

/// What the engine is asked for. `open` gives outputs their places.
pub(super) fn request(
    plan: BuildPlan,
    progress: ProgressSink,
    open: impl Fn(Output) -> Result<ExportRequest, Failure>,
) -> Result<BuildRequest, Failure> {
    let entitlements = plan
        .entitlements
        .iter()
        .map(|name| name.parse::<Entitlement>());
    let entitlements = entitlements
        .collect::<Result<_, _>>()
        .map_err(Failure::usage)?;
    let empty = Session::empty();
    let session = Session {
        files: Arc::new(Directories {
            directories: plan.directories,
            oci_layouts: plan.oci_layouts,
        }),
        credentials: Arc::new(plan.credentials),
        secrets: plan.secrets.unwrap_or(empty.secrets),
        ssh: plan.ssh.unwrap_or(empty.ssh),
        id: empty.id,
    };
    let request = BuildRequest::new(frontend(plan.frontend)?, session);
    Ok(BuildRequest {
        id: plan.id.as_str().to_owned(),
        options: plan.options,
        cache_imports: plan.cache_imports,
        cache_exports: plan.cache_exports,
        entitlements,
        source_policy: plan.source_policy,
        network: match plan.proxy_network {
            true => StepNetwork::Proxied,
            false => StepNetwork::Direct,
        },
        progress,
        // Last, because it makes files that a bad command line must not touch.
        exports: plan
            .outputs
            .into_iter()
            .map(open)
            .collect::<Result<_, _>>()?,
        ..request
    })
}

fn frontend(frontend: plan::Frontend) -> Result<Frontend, Failure> {
    let name = match frontend {
        plan::Frontend::Definition(definition) => return Ok(Frontend::Definition(definition)),
        plan::Frontend::Named(name) => name,
    };
    match name.as_str() {
        "dockerfile.v0" => Ok(Frontend::Dockerfile),
        "gateway.v0" => Ok(Frontend::Gateway),
        other => Err(Failure::usage(format!(
            "unknown frontend {other:?}; use dockerfile.v0"
        ))),
    }
}
