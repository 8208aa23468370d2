//! Build errors on the wire: gRPC codes, and details in the forms that
//! BuildKit's clients read (and back again).
//!
//! Details travel as JSON under names of Go packages. Beside those that
//! BuildKit has there is one of our own, with hints; others ignore it.

mod detail;
mod source;

use bytes::Bytes;
use kiln_protocol::rpc;
use prost::Message as _;
use tonic::{Code, Status};

use crate::error::{BuildError, Detail, Kind};
use crate::ops::Output;
use detail::Own;

/// A build error as a gRPC status.
pub fn to_status(error: &BuildError) -> Status {
    status_with(error, |_| String::new())
}

/// The same; `hold` keeps what a failed step worked on and answers the id
/// under which a frontend finds it.
pub(crate) fn status_with(error: &BuildError, hold: impl Fn(&Output) -> String) -> Status {
    let wire = to_rpc(error, hold);
    let (code, message) = (Code::from_i32(wire.code), wire.message.clone());
    if wire.details.is_empty() {
        return Status::new(code, message);
    }
    Status::with_details(code, message, Bytes::from(wire.encode_to_vec()))
}

/// A gRPC status as a build error: what `to_status` makes of one, or what
/// another BuildKit says.
pub fn from_status(status: &Status) -> BuildError {
    let wire = match status.details() {
        [] => None,
        details => rpc::Status::decode(details).ok(),
    };
    from_rpc(wire.unwrap_or_else(|| rpc::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::new(),
    }))
}

/// A build error as a message in itself.
pub(crate) fn to_rpc(error: &BuildError, hold: impl Fn(&Output) -> String) -> rpc::Status {
    let mut details = vec![detail::stack()];
    let typed = error.details.iter();
    details.extend(typed.filter_map(|it| detail::encode(it, &hold)));
    details.extend(error.locations.iter().map(source::encode));
    details.push(Own::of(error).encode());
    rpc::Status {
        code: code(error) as i32,
        message: error.message.clone(),
        details,
    }
}

/// A process that ended with another code than 0.
pub(crate) fn exit_status(code: u32, message: String) -> rpc::Status {
    rpc::Status {
        code: Code::Unknown as i32,
        message,
        details: vec![detail::exit(code)],
    }
}

/// What another program says went wrong.
pub(crate) fn from_rpc(wire: rpc::Status) -> BuildError {
    let code = Code::from_i32(wire.code);
    let mut error = BuildError::new(kind(code), wire.message);
    for any in wire.details {
        if let Some(own) = Own::decode(&any) {
            own.put_into(&mut error);
        } else if let Some(location) = source::decode(&any) {
            error.locations.push(location);
        } else if let Some(detail) = detail::decode(any) {
            error.details.push(detail);
        }
    }
    if self::code(&error) != code {
        error.details.insert(0, Detail::Code(wire.code));
    }
    error
}

/// The code of an error. As in BuildKit most have none in particular: its
/// clients show that of others in front of the message.
fn code(error: &BuildError) -> Code {
    let special = error.details.iter().find_map(|detail| match detail {
        Detail::Code(code) => Some(Code::from_i32(*code)),
        Detail::FrontendCap(_) => Some(Code::Unimplemented),
        _ => None,
    });
    special.unwrap_or(match error.kind {
        Kind::Input | Kind::Environment => Code::Unknown,
        Kind::Internal => Code::Internal,
        Kind::Cancelled => Code::Cancelled,
    })
}

/// Who has to act on an error that came with this code.
fn kind(code: Code) -> Kind {
    match code {
        Code::Cancelled => Kind::Cancelled,
        Code::Internal => Kind::Internal,
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded => Kind::Environment,
        _ => Kind::Input,
    }
}
