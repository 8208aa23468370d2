//! How the refusals of policies are told.

use kiln_llb::policy::PolicyError;
use kiln_llb::redact;
use kiln_session::SessionError;

use crate::error::{BuildError, Detail, Kind};

/// What rules refuse, or why they cannot be followed.
pub(super) fn refused(error: PolicyError) -> BuildError {
    let hint = match &error {
        PolicyError::Denied(_) => Some(
            "the last rule of the policy that matches the source denies it: change the rule or the source",
        ),
        PolicyError::Circles => Some("rules convert the source to what other rules convert again"),
        _ => None,
    };
    let error = BuildError::wrap(Kind::Input, error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// What the client's policy denies. Tools match on the words.
pub(super) fn denied(identifier: &str, reasons: Vec<String>) -> BuildError {
    let message = format!(
        "source {:?} not allowed by policy: action DENY",
        redact::credentials(identifier)
    );
    let error = BuildError::new(Kind::Input, message);
    match reasons.is_empty() {
        true => error.hint("the client's source policy gives no reason: ask who wrote it"),
        false => error.detail(Detail::Denial(reasons)),
    }
}

/// The client's policy did not answer well.
pub(super) fn unanswered(identifier: &str, error: SessionError) -> BuildError {
    let kind = match error {
        SessionError::Gone { .. } | SessionError::TimedOut { .. } => Kind::Environment,
        _ => Kind::Input,
    };
    BuildError::wrap(kind, error).context(about(identifier))
}

/// The client's policy asks what makes no sense.
pub(super) fn senseless(identifier: &str, reason: impl std::fmt::Display) -> BuildError {
    BuildError::new(Kind::Input, format!("{}: {reason}", about(identifier)))
        .hint("the source policy of the client is wrong, not the build")
}

fn about(identifier: &str) -> String {
    format!("source {:?}", redact::credentials(identifier))
}
