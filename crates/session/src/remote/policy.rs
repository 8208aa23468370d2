//! A policy of a connected client.

use kiln_protocol::policysession::check_policy_response::Result as Wire;
use kiln_protocol::policysession::policy_verifier_client::PolicyVerifierClient;
use kiln_protocol::policysession::{CheckPolicyRequest, DecisionResponse};
use kiln_protocol::sourcepolicy::PolicyAction;

use super::Calls;
use crate::tunnel::MESSAGE_LIMIT;
use crate::{JudgeSources, SessionError, SourceAnswer, SourceQuestion};

const CHECK: &str = "/moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier/CheckPolicy";

pub(super) struct RemotePolicy(Calls);

impl RemotePolicy {
    pub(super) fn new(calls: Calls) -> Result<Self, SessionError> {
        calls.require(CHECK)?;
        Ok(Self(calls))
    }
}

#[async_trait::async_trait]
impl JudgeSources for RemotePolicy {
    async fn judge(&self, question: SourceQuestion) -> Result<SourceAnswer, SessionError> {
        let mut client = PolicyVerifierClient::new(self.0.channel())
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT);
        let call = client.check_policy(CheckPolicyRequest {
            platform: question.platform,
            source: Some(question.source),
            ..CheckPolicyRequest::default()
        });
        let answer = self.0.ask("source policy of the client", call).await?;
        match answer.into_inner().result {
            Some(Wire::Decision(decision)) => read(decision),
            Some(Wire::Request(request)) => Ok(SourceAnswer::LookUp(Box::new(request))),
            None => Err(malformed("no decision in policy response")),
        }
    }
}

fn read(decision: DecisionResponse) -> Result<SourceAnswer, SessionError> {
    match PolicyAction::try_from(decision.action) {
        Ok(PolicyAction::Allow) => Ok(SourceAnswer::Allowed),
        Ok(PolicyAction::Deny) => {
            let messages = decision.deny_messages.into_iter();
            let messages = messages.map(|it| it.message).filter(|it| !it.is_empty());
            Ok(SourceAnswer::Denied(messages.collect()))
        }
        Ok(PolicyAction::Convert) => match decision.update {
            Some(source) => Ok(SourceAnswer::Replaced(source)),
            None => Err(malformed("convert action requires updated source")),
        },
        Err(_) => Err(malformed(&format!("unknown action {}", decision.action))),
    }
}

fn malformed(reason: &str) -> SessionError {
    SessionError::Malformed {
        what: "source policy of the client".into(),
        reason: reason.into(),
    }
}
