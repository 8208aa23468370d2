//! A policy of the client: it is asked about each source of a build.

use kiln_protocol::frontend::{ResolveSourceMetaRequest, ResolveSourceMetaResponse};
use kiln_protocol::pb;

use crate::SessionError;

/// A source that a policy has to decide about.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceQuestion {
    /// The source, and what has been looked up about it.
    pub source: ResolveSourceMetaResponse,
    /// The platform that it is for, if it has one.
    pub platform: Option<pb::Platform>,
}

/// What a policy says about a source.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceAnswer {
    /// It may be used.
    Allowed,
    /// It may not, for these reasons.
    Denied(Vec<String>),
    /// Another one is to be used, about which the policy is asked again.
    Replaced(pb::SourceOp),
    /// More has to be looked up about it first.
    LookUp(Box<ResolveSourceMetaRequest>),
}

/// Decides about sources.
#[async_trait::async_trait]
pub trait JudgeSources: Send + Sync {
    /// The answer to one question.
    async fn judge(&self, question: SourceQuestion) -> Result<SourceAnswer, SessionError>;
}
