//! Questions to a frontend. Their answers reach only the client that drives
//! the build itself, through the gateway API.

use std::time::Duration;

use kiln_protocol::frontend::llb_bridge_client::LlbBridgeClient;
use kiln_protocol::frontend::{self, PingRequest, ReturnRequest};
use kiln_protocol::rpc;
use prost::Message as _;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Request, Status};

use crate::client::MESSAGE_LIMIT;
use crate::request::{CacheEntry, Frontend, LentSession, SolveOutcome, SolveRequest};
use crate::solve::WHAT;
use crate::{Client, ClientError};

/// The header that names the build which a gateway call belongs to.
const BUILD_ID: &str = "buildkit-controlapi-buildid";

/// What a frontend must be able to do to answer.
const CAPS: (&str, &str) = ("frontend.caps", "moby.buildkit.frontend.subrequests");

/// How long the build may take to appear.
const APPEAR: Duration = Duration::from_secs(15);

/// How long the Solve call may take to end after the gateway call failed.
const GRACE: Duration = Duration::from_secs(5);

impl Client {
    /// Runs the frontend with a question and gives its answer.
    pub(crate) async fn ask(
        &self,
        request: &SolveRequest,
        session: LentSession<'_>,
    ) -> Result<SolveOutcome, ClientError> {
        let mut solving = std::pin::pin!(self.call_solve(request.to_wire(session)));
        let mut asking = std::pin::pin!(self.drive(request));
        let (solved, asked) = tokio::select! {
            // The Solve call cannot end well before the frontend has answered.
            solved = &mut solving => (solved?, asking.await?),
            asked = &mut asking => match asked {
                Ok(answer) => (solving.await?, answer),
                Err(error) => {
                    // Its own error says more, if it comes.
                    let ended = tokio::time::timeout(GRACE, solving).await;
                    return Err(ended.ok().and_then(Result::err).unwrap_or(error));
                }
            },
        };
        Ok(SolveOutcome {
            response: solved.exporter_response,
            answer: asked,
        })
    }

    async fn drive(
        &self,
        request: &SolveRequest,
    ) -> Result<std::collections::BTreeMap<String, Vec<u8>>, ClientError> {
        let id = AsciiMetadataValue::try_from(request.reference.as_str());
        let id = id.map_err(|_| {
            ClientError::Request(format!("{:?} cannot name a build", request.reference))
        })?;
        let mut bridge =
            LlbBridgeClient::with_interceptor(self.channel(), move |mut call: Request<()>| {
                call.metadata_mut().insert(BUILD_ID, id.clone());
                Ok(call)
            })
            .max_decoding_message_size(MESSAGE_LIMIT);
        let mut ping = Request::new(PingRequest::default());
        ping.set_timeout(APPEAR);
        bridge
            .ping(ping)
            .await
            .map_err(|status| self.failed(WHAT, status))?;
        let solved = bridge.solve(question(request)).await;
        let (end, outcome) = match solved {
            Ok(answer) => {
                let result = answer.into_inner().result.unwrap_or_default();
                let metadata = result.metadata.clone();
                let end = ReturnRequest {
                    result: Some(result),
                    error: None,
                };
                (end, Ok(metadata))
            }
            Err(status) => {
                let end = ReturnRequest {
                    result: None,
                    error: Some(to_wire(&status)),
                };
                (end, Err(self.failed(WHAT, status)))
            }
        };
        let returned = bridge.r#return(end).await;
        let metadata = outcome?;
        returned.map_err(|status| self.failed(WHAT, status))?;
        let metadata = metadata.into_iter();
        Ok(metadata.map(|(key, value)| (key, value.to_vec())).collect())
    }
}

fn question(request: &SolveRequest) -> frontend::SolveRequest {
    let mut options = request.options.clone();
    let (key, value) = CAPS;
    options.entry(key.into()).or_insert_with(|| value.into());
    let (definition, frontend) = match &request.frontend {
        Frontend::Definition(definition) => (Some(definition.clone()), String::new()),
        Frontend::Named(name) => (None, name.clone()),
    };
    let entry = |entry: &CacheEntry| frontend::CacheOptionsEntry {
        r#type: entry.kind.clone(),
        attrs: entry.attributes.clone(),
    };
    frontend::SolveRequest {
        definition,
        frontend,
        frontend_opt: options,
        frontend_inputs: request.inputs.clone(),
        cache_imports: request.cache_imports.iter().map(entry).collect(),
        allow_result_return: true,
        allow_result_array_ref: true,
        ..frontend::SolveRequest::default()
    }
}

/// The error as the daemon sent it, with its details.
fn to_wire(status: &Status) -> rpc::Status {
    let sent = rpc::Status::decode(status.details()).unwrap_or_default();
    rpc::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: sent.details,
    }
}
