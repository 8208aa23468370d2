//! `Plan`: what a build would do.

use kiln_engine::{BuildRequest, ExportRequest, ExportTarget};
use kiln_protocol::control::SolveRequest;
use kiln_protocol::planner::PlanResponse;
use kiln_session::Session;
use tonic::{Response, Status};

use super::build::{self, shutting_down};
use super::request::Wanted;
use super::{Control, errors};

/// Plans a build. If the client goes away, the call is dropped and the work with it.
pub(super) async fn plan(
    control: &Control,
    request: SolveRequest,
) -> Result<Response<PlanResponse>, Status> {
    let _build = control.life.begin_build().map_err(|_| shutting_down())?;
    let wanted = Wanted::check(request, &control.terms)?;
    if wanted.picks_exporters {
        let message =
            "a plan has no result of which exporters could be picked (EnableSessionExporter)";
        return Err(Status::invalid_argument(message));
    }
    let session = build::named(control, &wanted.session).await?;
    let session = session.map_or_else(Session::empty, |session| session.session());
    let session_policy = build::policy(control, &wanted.policy_session).await?;
    let exports = wanted.exporters.into_iter().map(|exporter| ExportRequest {
        kind: exporter.r#type,
        attributes: exporter.attrs,
        target: ExportTarget::None,
    });
    let request = BuildRequest {
        id: wanted.id,
        options: wanted.options,
        frontend_inputs: wanted.frontend_inputs,
        exports: exports.collect(),
        cache_imports: wanted.cache_imports,
        cache_exports: wanted.cache_exports,
        entitlements: wanted.entitlements,
        source_policy: wanted.source_policy,
        session_policy,
        network: wanted.network,
        compatibility: wanted.compatibility,
        ..BuildRequest::new(wanted.frontend, session)
    };
    let plan = tokio::select! {
        plan = control.engine.plan(request) => plan.map_err(|error| errors::status(&error))?,
        () = control.life.cancelled() => return Err(shutting_down()),
    };
    let plan = serde_json::to_vec(&plan).map_err(|error| Status::internal(error.to_string()))?;
    Ok(Response::new(PlanResponse { plan: plan.into() }))
}
