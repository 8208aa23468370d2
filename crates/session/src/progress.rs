//! Progress events: what a build tells its client while it runs.
//!
//! The JSON form of [`Update`] is BuildKit's `SolveStatus` (client package),
//! which `--progress=rawjson` prints one a line.

use std::sync::Arc;

use base64::Engine as _;
use serde::{Serialize, Serializer};

/// A point in time, printed as RFC 3339 with nanoseconds.
pub type Timestamp = jiff::Timestamp;

/// One batch of news.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Update {
    /// Steps that appeared or changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vertexes: Vec<Vertex>,
    /// Progress inside steps, such as bytes transferred.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<Status>,
    /// Output of steps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<Log>,
    /// Warnings, shown once the build ends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// A step of the build.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Vertex {
    /// Names the step: an op digest, or the digest of a random name for steps
    /// such as exports that are not ops.
    pub digest: String,
    /// Digests of the steps it needs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// For people, such as `[build 2/4] RUN make`.
    pub name: String,
    /// When it began; `None` while waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended, well or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<Timestamp>,
    /// Its result came from a cache.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// Why it failed; empty when it did not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Steps to be shown as one.
    #[serde(rename = "progressGroup", skip_serializing_if = "Option::is_none")]
    pub progress_group: Option<ProgressGroup>,
}

/// Steps that a client asked to see as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProgressGroup {
    /// Equal for all members.
    pub id: String,
    /// What to show.
    pub name: String,
    /// Members are shown alone unless another member runs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub weak: bool,
}

/// Progress of one thing inside a step.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// What it is, such as `transferring context:`.
    pub id: String,
    /// The step's digest.
    pub vertex: String,
    /// Usually empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Expected amount, in bytes; 0 when unknown.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: i64,
    /// Amount so far, in bytes.
    pub current: i64,
    /// When this was true.
    pub timestamp: Timestamp,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<Timestamp>,
}

/// Output of a step.
#[derive(Debug, Clone, Serialize)]
pub struct Log {
    /// The step's digest.
    pub vertex: String,
    /// 1 for standard output, 2 for standard error.
    pub stream: u8,
    /// The bytes, not necessarily whole lines.
    #[serde(serialize_with = "base64_bytes")]
    pub data: Vec<u8>,
    /// When they arrived.
    pub timestamp: Timestamp,
}

/// A warning about the build, with a place in a source file where known.
#[derive(Debug, Clone, Serialize)]
pub struct Warning {
    /// The step's digest.
    pub vertex: String,
    /// 1 is the most important.
    pub level: u8,
    /// One line.
    #[serde(serialize_with = "base64_bytes")]
    pub short: Vec<u8>,
    /// Further lines.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "base64_lines")]
    pub detail: Vec<Vec<u8>>,
    /// Where to read on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// The file the ranges speak of.
    #[serde(rename = "sourceInfo", skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceFile>,
    /// Places in that file.
    #[serde(rename = "range", skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<Range>,
}

/// A source file, as it was when the build read it.
#[derive(Debug, Clone, Serialize)]
pub struct SourceFile {
    /// Its name, such as `Dockerfile`.
    pub filename: String,
    /// Its content.
    #[serde(serialize_with = "base64_bytes")]
    pub data: Vec<u8>,
    /// Its language, such as `Dockerfile`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub language: String,
}

/// An area of a source file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Range {
    /// First position.
    pub start: Position,
    /// Last position.
    pub end: Position,
}

/// A place in a source file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Position {
    /// Line, counted from 1.
    pub line: i32,
    /// Column, counted from 0.
    #[serde(skip_serializing_if = "is_zero_column")]
    pub character: i32,
}

/// Where updates go. Called from many threads; must not block for long.
pub trait Progress: Send + Sync {
    /// Takes one batch of news.
    fn update(&self, update: Update);
}

/// Drops all news.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn update(&self, _update: Update) {}
}

/// A shared progress sink.
pub type ProgressSink = Arc<dyn Progress>;

fn is_zero(value: &i64) -> bool {
    *value == 0
}

fn is_zero_column(value: &i32) -> bool {
    *value == 0
}

fn base64_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(bytes))
}

fn base64_lines<S: Serializer>(lines: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
    let engine = base64::engine::general_purpose::STANDARD;
    serializer.collect_seq(lines.iter().map(|line| engine.encode(line)))
}
