//! Lets a daemon ask the client's policy.

use std::sync::Arc;

use kiln_protocol::policysession::check_policy_response::Result as Wire;
use kiln_protocol::policysession::policy_verifier_server::PolicyVerifier;
use kiln_protocol::policysession::{
    CheckPolicyRequest, CheckPolicyResponse, DecisionResponse, DenyMessage,
};
use kiln_protocol::sourcepolicy::PolicyAction;
use tonic::{Request, Response, Status};

use crate::{JudgeSources, SourceAnswer, SourceQuestion};

pub(super) struct Judge(pub(super) Arc<dyn JudgeSources>);

#[tonic::async_trait]
impl PolicyVerifier for Judge {
    async fn check_policy(
        &self,
        request: Request<CheckPolicyRequest>,
    ) -> Result<Response<CheckPolicyResponse>, Status> {
        let request = request.into_inner();
        let question = SourceQuestion {
            source: request
                .source
                .ok_or_else(|| Status::invalid_argument("the question names no source"))?,
            platform: request.platform,
        };
        let answer = self.0.judge(question).await.map_err(Status::from)?;
        Ok(Response::new(CheckPolicyResponse {
            result: Some(wire(answer)),
        }))
    }
}

fn wire(answer: SourceAnswer) -> Wire {
    let mut decision = DecisionResponse::default();
    let action = match answer {
        SourceAnswer::LookUp(request) => return Wire::Request(*request),
        SourceAnswer::Allowed => PolicyAction::Allow,
        SourceAnswer::Denied(messages) => {
            let messages = messages.into_iter();
            decision.deny_messages = messages.map(|message| DenyMessage { message }).collect();
            PolicyAction::Deny
        }
        SourceAnswer::Replaced(source) => {
            decision.update = Some(source);
            PolicyAction::Convert
        }
    };
    decision.action = action.into();
    Wire::Decision(decision)
}
