//! `Solve`: one build from request to response.

use std::sync::Arc;
use std::time::Instant;

use kiln_engine::history::TraceContext;
use kiln_engine::{BuildOutcome, BuildRequest, Recorded};
use kiln_protocol::control::{SolveRequest, SolveResponse};
use kiln_session::{JudgeSources, RemoteSession, Session};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::late_exports::SessionExports;
use super::request::Wanted;
use super::{Control, errors, export};
use crate::steps::StepCounter;

/// Runs a build. If the client goes away, the call is dropped and the build
/// with it.
pub(super) async fn solve(
    control: &Control,
    request: Request<SolveRequest>,
) -> Result<Response<SolveResponse>, Status> {
    let _build = control.life.begin_build().map_err(|_| shutting_down())?;
    let trace = trace_context(request.metadata());
    let wanted = Wanted::check(request.into_inner(), &control.terms)?;
    let id = wanted.id.clone();
    let steps = Arc::new(StepCounter::default());
    let begin = Instant::now();
    let outcome = tokio::select! {
        outcome = build(control, wanted, trace, steps.clone()) => outcome,
        () = control.life.cancelled() => Err(shutting_down()),
    };
    let code = outcome.as_ref().err().map(Status::code);
    control.metrics.build(steps.counts(), begin.elapsed(), code);
    match &outcome {
        Ok(_) => tracing::debug!(build = %id, "build done"),
        Err(error) => tracing::error!(build = %id, error = error.message(), "build failed"),
    }
    outcome.map(|outcome| Response::new(response(outcome)))
}

async fn build(
    control: &Control,
    wanted: Wanted,
    trace: Option<TraceContext>,
    progress: Arc<StepCounter>,
) -> Result<BuildOutcome, Status> {
    let session = named(control, &wanted.session).await?;
    let session_policy = policy(control, &wanted.policy_session).await?;
    let exports = export::requests(wanted.exporters, 0, session.as_ref())?;
    let picking = session.clone().filter(|_| wanted.picks_exporters);
    let request = BuildRequest {
        id: wanted.id,
        frontend: wanted.frontend,
        options: wanted.options,
        frontend_inputs: wanted.frontend_inputs,
        exports,
        late_exports: picking.map(|session| Arc::new(SessionExports(session)) as _),
        cache_imports: wanted.cache_imports,
        cache_exports: wanted.cache_exports,
        entitlements: wanted.entitlements,
        source_policy: wanted.source_policy,
        session_policy,
        network: wanted.network,
        compatibility: wanted.compatibility,
        session: session.map_or_else(Session::empty, |session| session.session()),
        progress,
        recorded: match wanted.is_internal {
            true => Recorded::Unlisted,
            false => Recorded::Listed,
        },
        trace,
    };
    let outcome = control.engine.build(request).await;
    outcome.map_err(|error| errors::status(&error))
}

/// The session of this id; `None` if that is empty.
pub(super) async fn named(control: &Control, id: &str) -> Result<Option<RemoteSession>, Status> {
    if id.is_empty() {
        return Ok(None);
    }
    let session = control.sessions.get(id).await;
    session.map(Some).map_err(|error| errors::session(&error))
}

/// The policy in the session of this id.
pub(super) async fn policy(
    control: &Control,
    id: &str,
) -> Result<Option<Arc<dyn JudgeSources>>, Status> {
    let policy = named(control, id).await?.map(|session| session.policy());
    policy.transpose().map_err(|error| {
        let status = errors::session(&error);
        let message = format!("source policy of session {id}: {}", status.message());
        Status::new(status.code(), message)
    })
}

/// The trace that the call is a part of.
fn trace_context(metadata: &MetadataMap) -> Option<TraceContext> {
    let header = metadata.get("traceparent")?.to_str().ok()?;
    TraceContext::from_traceparent(header)
}

fn response(outcome: BuildOutcome) -> SolveResponse {
    SolveResponse {
        exporter_response: outcome.response,
    }
}

pub(super) fn shutting_down() -> Status {
    Status::unavailable("the build daemon is shutting down: try again when it is back")
}
