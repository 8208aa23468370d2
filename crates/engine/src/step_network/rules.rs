//! What the source policies of builds make of the requests of their processes.

use std::sync::Weak;

use async_trait::async_trait;
use kiln_proxy::{Rules, Verdict};
use kiln_solver::OpContext;

use crate::bridge::Bridge;
use crate::jobs::Jobs;

/// Asks builds about each request.
pub(crate) enum BuildRules {
    /// All that want a step at that moment.
    Live(Jobs, OpContext),
    /// The one whose frontend runs the process.
    One(Weak<Bridge>),
}

#[async_trait]
impl Rules for BuildRules {
    async fn judge(&self, _method: &str, url: &str) -> Verdict {
        let builders = match self {
            Self::Live(jobs, cx) => jobs.builders(cx),
            Self::One(bridge) => {
                let bridge = bridge.upgrade();
                bridge.map(|it| it as _).into_iter().collect()
            }
        };
        let mut verdict = None;
        for builder in builders {
            let own = match builder.judge_request(url).await {
                Ok(None) => Verdict::Allow,
                Ok(Some(other)) => Verdict::Fetch(other),
                Err(error) => return Verdict::Deny(error.to_string()),
            };
            if verdict.as_ref().is_some_and(|verdict| *verdict != own) {
                let reason = "builds that share this step have source policies that contradict";
                return Verdict::Deny(reason.into());
            }
            verdict = Some(own);
        }
        verdict.unwrap_or_else(|| Verdict::Deny("no build is left that wants this step".into()))
    }
}
