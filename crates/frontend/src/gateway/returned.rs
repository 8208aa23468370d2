//! What is returned to the engine.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use kiln_llb::{Definition, pb};
use kiln_protocol::frontend::{
    self, Attestation, Attestations, CacheOptionsEntry, Ref, RefMap, ReturnRequest, SolveRequest,
    result,
};

use super::bridge::Bridge;
use super::error::{CallError, add_place, has_place};
use crate::metadata::Metadata;
use crate::run::{self, Build, Outcome, Request};
use crate::sbom;
use crate::syntax::{Asker, Wanted};

/// Answers a request.
pub(super) async fn result(
    bridge: &Bridge,
    request: &Request,
) -> Result<frontend::Result, CallError> {
    match run::run(bridge, request).await? {
        Outcome::Answer(metadata) => Ok(frontend::Result {
            metadata,
            result: Some(result::Result::Ref(Ref::default())),
            ..frontend::Result::default()
        }),
        Outcome::Build(lowered) => build(bridge, lowered).await,
        Outcome::Forward { wanted, file } => forward(bridge, request, &wanted, file).await,
    }
}

/// The last call.
pub(super) fn message(returned: Result<frontend::Result, CallError>) -> ReturnRequest {
    match returned {
        Ok(result) => ReturnRequest {
            result: Some(result),
            error: None,
        },
        Err(error) => ReturnRequest {
            result: None,
            error: Some(error.into_rpc()),
        },
    }
}

async fn build(bridge: &Bridge, build: Build) -> Result<frontend::Result, CallError> {
    let imports = build.cache_imports.into_iter();
    let imports = imports.map(|import| CacheOptionsEntry {
        r#type: import.kind,
        attrs: import.attrs,
    });
    let imports = imports.collect::<Vec<_>>();
    let targets = build.targets.iter();
    let solves = targets.map(|it| solve(bridge, &it.lowered.definition, &imports));
    let refs = try_join_all(solves).await?;
    let mut metadata = Metadata::new(build.multi_platform);
    let ids = build.targets.iter().map(|it| metadata.add(&it.lowered));
    let ids = ids.collect::<Vec<_>>();
    let mut attestations = BTreeMap::new();
    for (id, target) in ids.iter().zip(&build.targets) {
        if let Some(sbom) = &target.sbom {
            let bundle = Attestation {
                r#ref: Some(solve(bridge, sbom, &[]).await?),
                ..sbom::bundle()
            };
            let attestation = vec![bundle];
            attestations.insert(id.clone(), Attestations { attestation });
        }
    }
    let mut refs = ids.into_iter().zip(refs).collect::<BTreeMap<_, _>>();
    let result = match build.multi_platform {
        true => result::Result::Refs(RefMap { refs }),
        false => {
            let single = refs.pop_first().map(|(_, reference)| reference);
            result::Result::Ref(single.unwrap_or_default())
        }
    };
    Ok(frontend::Result {
        metadata: metadata.finish(),
        attestations,
        result: Some(result),
    })
}

/// Hands a definition over; it is computed when somebody needs the files.
async fn solve(
    bridge: &Bridge,
    definition: &Definition,
    imports: &[CacheOptionsEntry],
) -> Result<Ref, CallError> {
    if definition.is_scratch() {
        return Ok(Ref::default());
    }
    let request = SolveRequest {
        definition: Some(definition.clone().into()),
        cache_imports: imports.to_vec(),
        ..SolveRequest::default()
    };
    let id = bridge.solve_one(request).await?;
    Ok(Ref { id, def: None })
}

/// Lets another frontend do it.
async fn forward(
    bridge: &Bridge,
    request: &Request,
    wanted: &Wanted,
    file: pb::SourceInfo,
) -> Result<frontend::Result, CallError> {
    let inputs = request.inputs.clone().into_iter();
    let call = SolveRequest {
        frontend: "gateway.v0".to_owned(),
        frontend_opt: wanted.options(&request.attributes),
        frontend_inputs: inputs.map(|(name, it)| (name, it.into())).collect(),
        ..SolveRequest::default()
    };
    let result = bridge.solve_any(call).await;
    result.map_err(|error| explain(error, wanted, file))
}

/// An error of the other frontend, with what asked for it where the error
/// itself speaks of no place.
fn explain(error: CallError, wanted: &Wanted, file: pb::SourceInfo) -> CallError {
    let mut error = error.into_rpc();
    if !has_place(&error) {
        match wanted.asker(file) {
            Asker::Line(place) => add_place(&mut error, &place),
            Asker::Argument(context) => error.message = format!("{context}: {}", error.message),
        }
    }
    CallError::Other(Box::new(error))
}
