//! Why something with a daemon failed, with the places in source files that
//! the daemon names.

use base64::Engine as _;
use kiln_protocol::rpc;
use kiln_session::progress::{Position, Range, SourceFile};
use prost::Message as _;
use serde::Deserialize;
use tonic::{Code, Status};

use crate::{AddressError, TlsError};

/// Why something with a daemon failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not one.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// TLS was asked for where there is none.
    #[error("{address} is not secured by TLS; leave out the TLS settings or use tcp://")]
    TlsUnused {
        /// The address.
        address: String,
    },
    /// Nobody answers.
    #[error("failed to dial {address:?}: {reason}. make sure buildkitd is running")]
    Connect {
        /// The address.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The daemon refused or failed.
    #[error("{what}: {error}")]
    Daemon {
        /// What it was asked, such as `failed to solve`.
        what: &'static str,
        /// Its answer.
        error: Box<DaemonError>,
    },
    /// The daemon's answer makes no sense.
    #[error("the daemon's answer cannot be read: {0}")]
    Answer(String),
    /// What the request asks for cannot be done by this client.
    #[error("{0}")]
    Request(String),
    /// The session with the daemon broke.
    #[error("session: {0}")]
    Session(#[from] kiln_session::SessionError),
    /// A file of this machine cannot be used.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl ClientError {
    /// The daemon's own error, if it is one.
    pub fn daemon(&self) -> Option<&DaemonError> {
        match self {
            Self::Daemon { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Whether the call was stopped rather than refused.
    pub fn is_cancelled(&self) -> bool {
        self.daemon()
            .is_some_and(|error| error.code == Code::Cancelled)
    }
}

/// What a daemon said about a call that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct DaemonError {
    /// The gRPC code.
    pub code: Code,
    /// The chain of causes as one line.
    pub message: String,
    /// Places in source files that it is about, innermost last.
    pub places: Vec<Place>,
    /// What to try.
    pub hints: Vec<String>,
    /// Why a source policy denies a source.
    pub denials: Vec<String>,
    /// Types of the details that came with it, such as `errdefs.Source`.
    pub details: Vec<String>,
}

/// A place in a source file.
#[derive(Debug, Clone)]
pub struct Place {
    /// The file as the build read it.
    pub file: SourceFile,
    /// Areas of it.
    pub ranges: Vec<Range>,
}

/// Prefix and suffix of the types that BuildKit's details have.
const DETAIL_PREFIX: &str = "github.com/moby/buildkit/";
const DETAIL_SUFFIX: &str = "+json";

/// What a source policy decided.
const DECISION: &str = "policysession.DecisionResponse";

/// What only Kiln's daemon tells.
const OWN_DETAIL: &str = "kiln.Error";

impl DaemonError {
    /// Reads a status with its details. A detail that cannot be read is
    /// skipped: the message says what happened also without it.
    pub fn from_status(status: &Status) -> Self {
        let details = rpc::Status::decode(status.details()).unwrap_or_default();
        // A connection that broke says why underneath.
        let mut message = status.message().to_owned();
        if let Some(cause) = std::error::Error::source(status) {
            let cause = chain(cause);
            if !message.contains(&cause) {
                message = format!("{message}: {cause}");
            }
        }
        Self::read(status.code(), &message, &details)
    }

    /// Reads an error as it is stored in a build's history.
    pub fn from_record(record: &rpc::Status) -> Self {
        Self::read(Code::from(record.code), &record.message, record)
    }

    fn read(code: Code, message: &str, status: &rpc::Status) -> Self {
        let name = |url: &str| {
            let name = url.strip_prefix(DETAIL_PREFIX).unwrap_or(url);
            name.strip_suffix(DETAIL_SUFFIX).unwrap_or(name).to_owned()
        };
        let details = status.details.iter();
        let named = details.map(|detail| (name(&detail.type_url), &detail.value));
        let sources = named.clone().filter(|(name, _)| name == "errdefs.Source");
        let decisions = named.clone().filter(|(name, _)| name == DECISION);
        let own = named.clone().filter(|(name, _)| name == OWN_DETAIL);
        Self {
            code,
            message: match message.is_empty() {
                true => code.description().to_owned(),
                false => message.to_owned(),
            },
            places: sources.filter_map(|(_, json)| place(json)).collect(),
            hints: own.flat_map(|(_, json)| hints(json)).collect(),
            denials: decisions.flat_map(|(_, json)| denials(json)).collect(),
            details: named.map(|(name, _)| name).collect(),
        }
    }
}

/// BuildKit writes details as the JSON of Go structures.
#[derive(Deserialize, Default)]
#[serde(default)]
struct WireSource {
    info: Option<WireFile>,
    ranges: Vec<WireRange>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireFile {
    filename: String,
    data: String,
    language: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireRange {
    start: WirePosition,
    end: WirePosition,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WirePosition {
    line: i32,
    character: i32,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OwnError {
    hints: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireDecision {
    #[serde(rename = "denyMessages")]
    messages: Vec<WireMessage>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireMessage {
    message: String,
}

fn denials(json: &[u8]) -> Vec<String> {
    let decision = serde_json::from_slice::<WireDecision>(json);
    let messages = decision.unwrap_or_default().messages.into_iter();
    let messages = messages.map(|it| it.message);
    messages.filter(|it| !it.is_empty()).collect()
}

fn hints(json: &[u8]) -> Vec<String> {
    let own = serde_json::from_slice::<OwnError>(json);
    own.unwrap_or_default().hints
}

fn place(json: &[u8]) -> Option<Place> {
    let source: WireSource = serde_json::from_slice(json).ok()?;
    let info = source.info?;
    let data = base64::engine::general_purpose::STANDARD.decode(info.data);
    let position = |at: &WirePosition| Position {
        line: at.line,
        character: at.character,
    };
    let ranges = source.ranges.iter().map(|range| Range {
        start: position(&range.start),
        end: position(&range.end),
    });
    Some(Place {
        file: SourceFile {
            filename: info.filename,
            data: data.ok()?,
            language: info.language,
        },
        ranges: ranges.collect(),
    })
}

/// The text of an error and its causes in one line; a cause that the text
/// shows already is not repeated.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
