//! Failed builds as gRPC errors.

use kiln_engine::{BuildError, Kind};
use kiln_session::SessionError;
use tonic::{Code, Status};

/// The error as a client sees it.
pub(super) fn status(error: &BuildError) -> Status {
    let code = match error.kind {
        Kind::Cancelled => Code::Cancelled,
        Kind::Internal => Code::Internal,
        // What upstream says of errors that have no code of their own.
        Kind::Input | Kind::Environment => Code::Unknown,
    };
    Status::new(code, error.message.clone())
}

/// Why something of the client's session cannot be had.
pub(super) fn session(error: &SessionError) -> Status {
    let code = match error {
        SessionError::UnknownSession { .. } => Code::NotFound,
        SessionError::Malformed { .. } => Code::InvalidArgument,
        _ => Code::Unknown,
    };
    Status::new(code, kiln_engine::error_chain(error))
}
