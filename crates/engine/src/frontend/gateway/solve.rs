//! `Solve`: a frontend asks for a definition or calls another frontend.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;
use kiln_llb::Definition;
use kiln_protocol::frontend::{
    self, RefMap, RefMapDeprecated, SolveRequest, SolveResponse, result,
};
use tonic::Status;

use super::{Gateway, invalid};
use crate::error::BuildError;
use crate::frontend::result::Refs;
use crate::frontend::{Call, FrontendResult, LazyRef, invalid_frontend, run_nested};
use crate::request::{CacheEntry, Frontend};

pub(super) async fn solve(
    gateway: &Gateway,
    request: SolveRequest,
) -> Result<SolveResponse, Status> {
    let form = Form::of(&request);
    let result = result_of(gateway, request);
    let result = result.await.map_err(|error| gateway.status(&error))?;
    form.response(gateway, result)
}

async fn result_of(gateway: &Gateway, request: SolveRequest) -> Result<FrontendResult, BuildError> {
    refuse(&request)?;
    let bridge = &gateway.bridge.governed_by(&request.source_policies)?;
    let evaluate = request.evaluate;
    let definition = request.definition.map(Definition::from);
    let definition = definition.filter(|definition| !definition.is_scratch());
    let result = match (definition, request.frontend.as_str()) {
        (Some(_), name) if !name.is_empty() => {
            let message = "cannot solve with both Definition and Frontend specified";
            return Err(invalid(message));
        }
        (Some(definition), _) => {
            let imports = request.cache_imports.into_iter().map(|import| CacheEntry {
                kind: import.r#type,
                attributes: import.attrs,
            });
            let caches = bridge.import(&imports.collect::<Vec<_>>()).await?;
            FrontendResult::single(LazyRef::new(bridge.clone(), definition, caches))
        }
        (None, "") => FrontendResult::default(),
        (None, name) => {
            let frontend = Frontend::named(name).ok_or_else(|| invalid_frontend(name))?;
            let inputs = request.frontend_inputs.into_iter();
            let call = Call {
                frontend,
                options: request.frontend_opt,
                inputs: inputs.map(|(name, it)| (name, it.into())).collect(),
            };
            run_nested(bridge, call).await?
        }
    };
    if evaluate {
        try_join_all(result.all_refs().map(|it| it.solution())).await?;
    }
    Ok(result)
}

/// What is not there is not ignored.
#[expect(deprecated, reason = "old frontends still send it")]
fn refuse(request: &SolveRequest) -> Result<(), BuildError> {
    if request.r#final {
        let error = invalid("Solve as the last call of a frontend (Final) is not supported");
        return Err(error.hint("use a frontend that returns its result with Return"));
    }
    Ok(())
}

/// In which of its forms the frontend understands a result.
enum Form {
    /// Results with their definitions.
    Refs,
    /// Ids alone.
    Ids,
    /// One id in place of a result.
    Single,
}

impl Form {
    fn of(request: &SolveRequest) -> Self {
        match (request.allow_result_return, request.allow_result_array_ref) {
            (false, _) => Self::Single,
            (true, false) => Self::Ids,
            (true, true) => Self::Refs,
        }
    }

    #[expect(deprecated, reason = "old frontends know no other form")]
    fn response(&self, gateway: &Gateway, result: FrontendResult) -> Result<SolveResponse, Status> {
        let mut response = SolveResponse::default();
        let refs = match (&result.refs, self) {
            (Refs::Keyed(references), Self::Single) if !references.is_empty() => {
                return Err(Status::unknown("solve did not return default result"));
            }
            (Refs::Single(reference), _) => {
                let reference = gateway.refs.add(reference.as_ref())?;
                match self {
                    Self::Refs => result::Result::Ref(reference),
                    Self::Ids => result::Result::RefDeprecated(reference.id),
                    Self::Single => {
                        response.r#ref = reference.id.clone();
                        result::Result::RefDeprecated(reference.id)
                    }
                }
            }
            (Refs::Keyed(references), _) => self.keyed(gateway, references)?,
        };
        response.result = Some(frontend::Result {
            metadata: result.metadata.clone(),
            attestations: attestations(gateway, &result)?,
            result: Some(refs),
        });
        Ok(response)
    }

    #[expect(deprecated, reason = "old frontends know no other form")]
    fn keyed(
        &self,
        gateway: &Gateway,
        references: &BTreeMap<String, Option<Arc<LazyRef>>>,
    ) -> Result<result::Result, Status> {
        let refs = references.iter().map(|(key, reference)| {
            let reference = gateway.refs.add(reference.as_ref())?;
            Ok((key.clone(), reference))
        });
        let refs: BTreeMap<_, _> = refs.collect::<Result<_, Status>>()?;
        if matches!(self, Self::Refs) {
            return Ok(result::Result::Refs(RefMap { refs }));
        }
        let refs = refs.into_iter().map(|(key, it)| (key, it.id)).collect();
        Ok(result::Result::RefsDeprecated(RefMapDeprecated { refs }))
    }
}

fn attestations(
    gateway: &Gateway,
    result: &FrontendResult,
) -> Result<BTreeMap<String, frontend::Attestations>, Status> {
    let attestations = result.attestations.iter().map(|(key, attestations)| {
        let wire = attestations.iter().map(|attestation| {
            Ok(frontend::Attestation {
                r#ref: match &attestation.files {
                    Some(files) => Some(gateway.refs.add(Some(files))?),
                    None => None,
                },
                ..attestation.statement.clone()
            })
        });
        let attestation = wire.collect::<Result<_, Status>>()?;
        Ok((key.clone(), frontend::Attestations { attestation }))
    });
    attestations.collect()
}
