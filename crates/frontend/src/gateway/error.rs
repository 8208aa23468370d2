//! Errors of calls, and how they go to the engine.

use kiln_llb::json::source_info;
use kiln_protocol::rpc;
use prost::Message as _;
use prost_types::Any;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::door::DoorError;
use crate::failure::{Failure, Missing, Place};

/// What stands in front of the names of BuildKit's types.
const PACKAGE: &str = "github.com/moby/buildkit/";
/// Our own detail: who has to act, and what to try. Others ignore it.
const OWN: &str = "kiln.Error+json";

/// Details travel in a header, so a file that is larger goes without text.
const MAX_TEXT: usize = 1 << 20;

/// Why the frontend cannot speak with the engine.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A variable is no text.
    #[error("{0} in the environment is not UTF-8")]
    NotText(String),
    /// The list of workers cannot be read.
    #[error("invalid BUILDKIT_WORKERS in the environment")]
    Workers(#[source] serde_json::Error),
    /// There is no engine at the other end.
    #[error(
        "no engine speaks on standard input and output: this program is run by builds, with --frontend gateway.v0 --opt source=IMAGE"
    )]
    Connect(#[source] tonic::transport::Error),
    /// The engine did not take the result.
    #[error("cannot return the result: {}", .0.message())]
    Return(Box<Status>),
}

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The engine says so.
    #[error("{}", .0.message())]
    Engine(Box<Status>),
    /// The request or the Dockerfile is wrong.
    #[error(transparent)]
    Input(Box<Failure>),
    /// Something failed that a line or an argument asked for: an image, another frontend.
    #[error("{}", .0.message)]
    Other(Box<rpc::Status>),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        Self::Engine(Box::new(status))
    }
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        Self::Input(Box::new(failure))
    }
}

impl DoorError for CallError {
    fn told_as(self, failure: Failure) -> Self {
        let mut error = self.into_rpc();
        if let Some(place) = failure.place.as_ref().filter(|_| !has_place(&error)) {
            add_place(&mut error, place);
        }
        error.message = failure.message;
        Self::Other(Box::new(error))
    }
}

impl CallError {
    /// The error as the engine takes it.
    pub(super) fn into_rpc(self) -> rpc::Status {
        match self {
            Self::Engine(status) => of_status(&status),
            Self::Input(failure) => of_failure(&failure),
            Self::Other(error) => *error,
        }
    }
}

/// Whether an error says where in a source file it is from.
pub(super) fn has_place(error: &rpc::Status) -> bool {
    let is_source = |it: &Any| it.type_url.ends_with("errdefs.Source+json");
    error.details.iter().any(is_source)
}

/// Adds a place in a source file.
pub(super) fn add_place(error: &mut rpc::Status, place: &Place) {
    error.details.push(source(place));
}

fn of_status(status: &Status) -> rpc::Status {
    let decoded = match status.details() {
        [] => None,
        details => rpc::Status::decode(details).ok(),
    };
    decoded.unwrap_or_else(|| rpc::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

fn of_failure(failure: &Failure) -> rpc::Status {
    let mut details = Vec::new();
    let mut code = Code::Unknown;
    match &failure.missing {
        Some(Missing::Cap(name)) => {
            code = Code::Unimplemented;
            details.push(any("errdefs.FrontendCap+json", &json!({ "name": name })));
        }
        Some(Missing::Subrequest(name)) => {
            details.push(any("errdefs.Subrequest+json", &json!({ "name": name })));
        }
        None => {}
    }
    details.extend(failure.place.as_ref().map(source));
    let hints: Vec<_> = failure.hint.iter().collect();
    details.push(Any {
        type_url: OWN.to_owned(),
        value: json!({ "kind": "input", "hints": hints })
            .to_string()
            .into_bytes(),
    });
    rpc::Status {
        code: code as i32,
        message: failure.message.clone(),
        details,
    }
}

fn source(place: &Place) -> Any {
    let mut file = place.file.clone();
    if file.data.len() > MAX_TEXT {
        file.data.clear();
    }
    let position = |position: &Option<kiln_llb::pb::Position>| {
        let position = position.unwrap_or_default();
        json!({ "line": position.line, "character": position.character })
    };
    let ranges = place
        .ranges
        .iter()
        .map(|range| json!({ "start": position(&range.start), "end": position(&range.end) }));
    let ranges = ranges.collect::<Vec<_>>();
    any(
        "errdefs.Source+json",
        &json!({ "info": source_info(&file), "ranges": ranges }),
    )
}

fn any(name: &str, value: &Value) -> Any {
    Any {
        type_url: format!("{PACKAGE}{name}"),
        value: value.to_string().into_bytes(),
    }
}
