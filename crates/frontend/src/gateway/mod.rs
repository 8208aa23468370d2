//! The frontend as a program of its own: it builds over `moby.buildkit.v1.frontend.LLBBridge`, spoken on its
//! standard input and output.

mod bridge;
mod connection;
mod environment;
mod error;
mod returned;

use kiln_llb::Definition;
use kiln_protocol::frontend::{InputsRequest, InputsResponse, PingRequest};

use crate::run::Request;
use bridge::Bridge;
use environment::Environment;

pub use error::{CallError, GatewayError};

/// Capability of an engine to hand definitions to frontends.
const INPUTS: &str = "frontend.inputs";

/// Does what the environment asks for, and returns the result to the engine.
pub async fn run() -> Result<(), GatewayError> {
    let environment = Environment::read(std::env::vars_os())?;
    let client = connection::connect().await?;
    let bridge = Bridge::new(client);
    let returned = match request(&bridge, environment).await {
        Ok(request) => returned::result(&bridge, &request).await,
        Err(error) => Err(error),
    };
    let returned = returned::message(returned);
    let call = bridge.client().r#return(returned).await;
    call.map_err(|error| GatewayError::Return(Box::new(error)))?;
    Ok(())
}

/// Completes what the environment says with what the engine says.
async fn request(bridge: &Bridge, environment: Environment) -> Result<Request, CallError> {
    let pong = bridge.client().ping(PingRequest {}).await?.into_inner();
    let llb = pong.llb_caps.iter().filter(|cap| cap.enabled);
    let has_inputs = pong
        .frontend_api_caps
        .iter()
        .any(|cap| cap.enabled && cap.id == INPUTS);
    let inputs = match has_inputs {
        true => bridge.client().inputs(InputsRequest {}).await?.into_inner(),
        false => InputsResponse::default(),
    };
    let inputs = inputs.definitions.into_iter();
    Ok(Request {
        attributes: environment.options,
        inputs: inputs
            .map(|(name, definition)| (name, Definition::from(definition)))
            .collect(),
        session: environment.session,
        workers: environment.platforms,
        caps: Some(llb.map(|cap| cap.id.as_str()).collect()),
    })
}
