//! Policies of a client's session: it is asked about a source until it decides, and may have things
//! looked up about it.

use kiln_llb::pb::{Platform, SourceOp};
use kiln_llb::policy::Outcome;
use kiln_protocol::frontend::{ResolveSourceMetaRequest, ResolveSourceMetaResponse};
use kiln_session::{JudgeSources, SourceAnswer, SourceQuestion};

use super::error::{denied, refused, senseless, unanswered};
use super::in_full;
use crate::bridge::Bridge;
use crate::error::BuildError;

/// How many questions are answered or asked about a source before its policy is taken to run in
/// circles; the protocol's own number.
const MAX_QUESTIONS: usize = 10;

impl Bridge {
    /// Asks the client about a source. What it replaces a source by has to pass the rules, too.
    pub(super) async fn ask(
        &self,
        client: &dyn JudgeSources,
        source: &mut SourceOp,
        platform: Option<Platform>,
    ) -> Result<Outcome, BuildError> {
        let mut outcome = Outcome::Kept;
        let mut known = nothing_but(source);
        for _ in 0..MAX_QUESTIONS {
            let question = SourceQuestion {
                source: known,
                platform: platform.clone(),
            };
            let answer = client.judge(question).await;
            match answer.map_err(|error| unanswered(&source.identifier, error))? {
                SourceAnswer::Allowed => return Ok(outcome),
                SourceAnswer::Denied(reasons) => return Err(denied(&source.identifier, reasons)),
                SourceAnswer::Replaced(other) => {
                    *source = other;
                    source.identifier = in_full(&source.identifier);
                    self.policies.rules.judge(source).map_err(refused)?;
                    outcome = Outcome::Replaced;
                    known = nothing_but(source);
                }
                SourceAnswer::LookUp(request) => known = self.find_out(source, *request).await?,
            }
        }
        Err(senseless(&source.identifier, "too many policy requests"))
    }

    /// Looks up what the policy wants to know. It may only ask about the source in question.
    async fn find_out(
        &self,
        source: &SourceOp,
        request: ResolveSourceMetaRequest,
    ) -> Result<ResolveSourceMetaResponse, BuildError> {
        let asked = request.source.clone().unwrap_or_default();
        if asked.identifier != source.identifier {
            let reason = format!(
                "policy requested different source identifier: {:?} != {:?}",
                asked.identifier, source.identifier
            );
            return Err(senseless(&source.identifier, reason));
        }
        if let Some(name) = first_difference(source, &asked) {
            let reason = format!("policy requested different source attrs: {name:?} differs");
            return Err(senseless(&source.identifier, reason));
        }
        let found = self.describe(source.clone(), request).await;
        found.map_err(|error| error.context("error resolving source metadata from policy request"))
    }
}

/// Name of an attribute that only one of the two has, or that they have with different values.
fn first_difference<'a>(one: &'a SourceOp, other: &'a SourceOp) -> Option<&'a str> {
    let mut names = one.attrs.keys().chain(other.attrs.keys());
    names
        .find(|name| one.attrs.get(*name) != other.attrs.get(*name))
        .map(String::as_str)
}

fn nothing_but(source: &SourceOp) -> ResolveSourceMetaResponse {
    ResolveSourceMetaResponse {
        source: Some(source.clone()),
        ..ResolveSourceMetaResponse::default()
    }
}
