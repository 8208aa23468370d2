//! A build that its client drives itself: the engine answers calls until the
//! client returns a result.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_llb::Definition;

use super::gateway::Gateway;
use super::result::FrontendResult;
use crate::bridge::Bridge;
use crate::error::BuildError;

pub(super) async fn run(
    bridge: &Arc<Bridge>,
    inputs: BTreeMap<String, Definition>,
) -> Result<FrontendResult, BuildError> {
    let (gateway, _ending) = Gateway::open(bridge.clone(), inputs);
    let id = bridge.job.id().to_string();
    let _joinable = bridge.engine.gateways.add(&id, gateway.clone());
    gateway.returned().await
}
