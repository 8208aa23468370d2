//! Failed builds as gRPC errors.

use kiln_engine::{BuildError, wire_error};
use kiln_session::SessionError;
use tonic::{Code, Status};

/// The error as a client sees it, with details.
pub(super) fn status(error: &BuildError) -> Status {
    wire_error::to_status(error)
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
