//! `Return`: a frontend ends, with a result or an error.

use std::collections::BTreeMap;

use kiln_protocol::frontend::{self, ReturnRequest, result};
use tonic::Status;

use super::Gateway;
use crate::frontend::FrontendResult;
use crate::frontend::result::{Attestation, Refs};
use crate::wire_error;

/// Takes what a frontend returns, once.
pub(super) fn take(gateway: &Gateway, request: ReturnRequest) -> Result<(), Status> {
    let outcome = match (request.error, request.result) {
        (Some(error), _) => Err(wire_error::from_rpc(error)),
        (None, Some(result)) => Ok(result_of(gateway, result)?),
        (None, None) => {
            let message = "gateway return must be either result or err";
            return Err(Status::unknown(message));
        }
    };
    let set = gateway.outcome.set(outcome);
    set.map_err(|_| Status::unknown("gateway result is already set"))
}

fn result_of(gateway: &Gateway, wire: frontend::Result) -> Result<FrontendResult, Status> {
    let refs = &gateway.refs;
    let keyed = |ids: BTreeMap<String, String>| {
        let ids = ids.into_iter();
        let keyed = ids.map(|(key, id)| Ok((key, refs.returned(&id)?)));
        Ok::<_, Status>(Refs::Keyed(keyed.collect::<Result<_, Status>>()?))
    };
    #[expect(deprecated, reason = "old frontends know no other form")]
    let returned = match wire.result {
        None => Refs::default(),
        Some(result::Result::RefDeprecated(id)) => Refs::Single(refs.returned(&id)?),
        Some(result::Result::Ref(reference)) => Refs::Single(refs.returned(&reference.id)?),
        Some(result::Result::RefsDeprecated(map)) => keyed(map.refs)?,
        Some(result::Result::Refs(map)) => {
            let ids = map.refs.into_iter();
            keyed(ids.map(|(key, it)| (key, it.id)).collect())?
        }
    };
    let attestations = wire.attestations.into_iter().map(|(key, list)| {
        let list = list.attestation.into_iter();
        let list = list.map(|statement| attestation(gateway, statement));
        Ok((key, list.collect::<Result<_, Status>>()?))
    });
    Ok(FrontendResult {
        refs: returned,
        metadata: wire.metadata,
        attestations: attestations.collect::<Result<_, Status>>()?,
    })
}

fn attestation(
    gateway: &Gateway,
    mut statement: frontend::Attestation,
) -> Result<Attestation, Status> {
    let files = statement.r#ref.take();
    let files = files.map(|files| gateway.refs.returned(&files.id));
    Ok(Attestation {
        statement,
        files: files.transpose()?.flatten(),
    })
}
