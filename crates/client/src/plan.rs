//! Plans: what a build would do.

use kiln_protocol::planner::planner_client::PlannerClient;
use kiln_session::{Services, SessionId};
use tonic::Code;

use crate::client::MESSAGE_LIMIT;
use crate::request::{LentSession, SolveRequest};
use crate::{Client, ClientError, layouts};

impl Client {
    /// Has the daemon say what a build would do, as a document in JSON. Only Kiln's daemons can. `services` are what it may use of this side; nothing is
    /// delivered.
    pub async fn plan(
        &self,
        mut request: SolveRequest,
        mut services: Services,
    ) -> Result<Vec<u8>, ClientError> {
        let session = SessionId::random();
        if request.reference.is_empty() {
            request.reference = SessionId::random().as_str().to_owned();
        }
        let lent = LentSession::new(&session, &services);
        layouts::lend_imports(&mut request, &mut services).await?;
        let planning = async {
            let planner = PlannerClient::new(self.channel());
            let mut planner = planner.max_decoding_message_size(MESSAGE_LIMIT);
            let answer = planner.plan(request.to_wire(lent)).await;
            match answer {
                Ok(answer) => Ok(answer.into_inner().plan.to_vec()),
                Err(status) if status.code() == Code::Unimplemented => Err(ClientError::Request(
                    "this daemon makes no plans (--dry-run): only newer daemons of Kiln do. Ask the engine in this \
                     process (--addr embedded:), or build and ask `buildctl explain`"
                        .into(),
                )),
                Err(status) => Err(self.failed("failed to plan", status)),
            }
        };
        let key = &request.shared_key;
        self.lending(services, (&session, key), planning).await
    }
}
