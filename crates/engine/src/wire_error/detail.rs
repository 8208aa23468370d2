//! The typed details of an error.

use std::collections::BTreeMap;

use kiln_llb::json::proto_op;
use kiln_llb::pb;
use prost::Message as _;
use prost_types::Any;
use serde::{Deserialize, Serialize};

use crate::error::{BuildError, Detail, FailedStep, Kind};
use crate::ops::Output;

/// What stands in front of the names of BuildKit's types.
const PACKAGE: &str = "github.com/moby/buildkit/";
const VERTEX: &str = "errdefs.Vertex+json";
const SOLVE: &str = "errdefs.Solve+json";
const FRONTEND: &str = "errdefs.Frontend+json";
const FRONTEND_CAP: &str = "errdefs.FrontendCap+json";
const SUBREQUEST: &str = "errdefs.Subrequest+json";
const DECISION: &str = "policysession.DecisionResponse+json";
const STACK: &str = "stack.Stack+json";
const EXIT: &str = "gatewayapi.ExitMessage+json";
const OWN: &str = "kiln.Error+json";

#[derive(Serialize, Deserialize)]
struct Vertex {
    #[serde(default)]
    digest: String,
}

#[derive(Serialize, Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Frontend {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    source: String,
}

/// protobuf's JSON form, which has 64-bit numbers as strings.
#[derive(Serialize)]
struct Solve<O> {
    #[serde(rename = "inputIDs", skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<String>,
    #[serde(rename = "mountIDs", skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    op: Option<O>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<FileAction>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    description: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct FileAction {
    index: String,
}

#[derive(Serialize, Deserialize)]
struct Decision {
    #[serde(default)]
    action: String,
    #[serde(rename = "denyMessages", default)]
    messages: Vec<Message>,
}

#[derive(Serialize, Deserialize)]
struct Message {
    #[serde(default)]
    message: String,
}

#[derive(Serialize)]
struct Exit {
    #[serde(rename = "Code")]
    code: u32,
}

#[derive(Serialize)]
struct Stack {
    pid: u32,
    version: &'static str,
}

/// A detail as it travels; `None` for what is not said by a detail.
pub(super) fn encode(detail: &Detail, hold: impl Fn(&Output) -> String) -> Option<Any> {
    match detail {
        Detail::Vertex(digest) => any(
            VERTEX,
            &Vertex {
                digest: digest.clone(),
            },
        ),
        Detail::Step(step) => solve(step, hold),
        Detail::Frontend { name, source } => any(
            FRONTEND,
            &Frontend {
                name: name.clone(),
                source: source.clone(),
            },
        ),
        Detail::FrontendCap(name) => any(FRONTEND_CAP, &Named { name: name.clone() }),
        Detail::Subrequest(name) => any(SUBREQUEST, &Named { name: name.clone() }),
        Detail::Exit(code) => Some(exit(*code)),
        Detail::Denial(reasons) => denial(reasons),
        Detail::Code(_) => None,
        Detail::Foreign { type_url, value } => Some(Any {
            type_url: type_url.clone(),
            value: value.to_vec(),
        }),
    }
}

/// What a detail says; `None` for what is of no use to us.
pub(super) fn decode(any: Any) -> Option<Detail> {
    let name = any.type_url.strip_prefix(PACKAGE);
    let known = match name {
        Some(VERTEX) => read(&any).map(|it: Vertex| Detail::Vertex(it.digest)),
        Some(FRONTEND) => read(&any).map(|it: Frontend| Detail::Frontend {
            name: it.name,
            source: it.source,
        }),
        Some(FRONTEND_CAP) => read(&any).map(|it: Named| Detail::FrontendCap(it.name)),
        Some(SUBREQUEST) => read(&any).map(|it: Named| Detail::Subrequest(it.name)),
        Some(DECISION) => read(&any).map(|it: Decision| {
            let messages = it.messages.into_iter();
            Detail::Denial(messages.map(|it| it.message).collect())
        }),
        Some(STACK) => return None,
        _ => None,
    };
    Some(known.unwrap_or(Detail::Foreign {
        type_url: any.type_url,
        value: any.value.into(),
    }))
}

fn denial(reasons: &[String]) -> Option<Any> {
    let messages = reasons.iter().cloned();
    let decision = Decision {
        action: "DENY".to_owned(),
        messages: messages.map(|message| Message { message }).collect(),
    };
    any(DECISION, &decision)
}

fn solve(step: &FailedStep, hold: impl Fn(&Output) -> String) -> Option<Any> {
    let op = pb::Op::decode(step.op.clone()).ok();
    let solve = Solve {
        inputs: step.inputs.iter().map(&hold).collect(),
        mounts: step.mounts.iter().map(&hold).collect(),
        op: op.map(|op| proto_op(&op)),
        file: step.file_action.map(|index| FileAction {
            index: index.to_string(),
        }),
        description: step.description.clone(),
    };
    any(SOLVE, &solve)
}

/// Which program an error comes from: what BuildKit's own calls were is of no
/// use to anybody here.
pub(super) fn stack() -> Any {
    let stack = Stack {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION"),
    };
    any(STACK, &stack).unwrap_or_default()
}

/// The code of a process.
pub(super) fn exit(code: u32) -> Any {
    any(EXIT, &Exit { code }).unwrap_or_default()
}

pub(super) fn any(name: &str, value: &impl Serialize) -> Option<Any> {
    Some(Any {
        type_url: format!("{PACKAGE}{name}"),
        value: serde_json::to_vec(value).ok()?,
    })
}

pub(super) fn read<'a, T: Deserialize<'a>>(any: &'a Any) -> Option<T> {
    serde_json::from_slice(&any.value).ok()
}

/// Whether a detail is BuildKit's of this name.
pub(super) fn is(any: &Any, name: &str) -> bool {
    any.type_url.strip_prefix(PACKAGE) == Some(name)
}

/// What is only said between our own programs.
#[derive(Serialize, Deserialize)]
pub(super) struct Own {
    kind: OwnKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OwnKind {
    Input,
    Environment,
    Internal,
    Cancelled,
}

impl Own {
    pub(super) fn of(error: &BuildError) -> Self {
        Self {
            kind: match error.kind {
                Kind::Input => OwnKind::Input,
                Kind::Environment => OwnKind::Environment,
                Kind::Internal => OwnKind::Internal,
                Kind::Cancelled => OwnKind::Cancelled,
            },
            step: error.vertex.clone(),
            hints: error.hints.clone(),
        }
    }

    pub(super) fn encode(&self) -> Any {
        Any {
            type_url: OWN.to_owned(),
            value: serde_json::to_vec(self).unwrap_or_default(),
        }
    }

    pub(super) fn decode(any: &Any) -> Option<Self> {
        (any.type_url == OWN).then(|| read(any)).flatten()
    }

    pub(super) fn put_into(self, error: &mut BuildError) {
        error.kind = match self.kind {
            OwnKind::Input => Kind::Input,
            OwnKind::Environment => Kind::Environment,
            OwnKind::Internal => Kind::Internal,
            OwnKind::Cancelled => Kind::Cancelled,
        };
        error.vertex = self.step;
        error.hints = self.hints;
    }
}
