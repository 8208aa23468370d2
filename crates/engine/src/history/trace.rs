//! Traces of builds: spans of the engine's own steps, and those that clients
//! send, in the JSON form that BuildKit stores and docker buildx reads.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kiln_llb::digest_of;
use kiln_protocol::control::BuildHistoryRecord;
use kiln_protocol::otlp_trace::{ResourceSpans, span};
use kiln_session::SessionId;
use kiln_session::progress::Timestamp;
use serde_json::{Value, json};

use super::History;
use super::span_json::{self, SpanText};
use super::tally::StepFacts;

/// The media type of traces.
pub(super) const MEDIA_TYPE: &str = "application/vnd.buildkit.otlp.json.v0";

/// Spans that may wait for the builds they belong to; more are dropped.
const MAX_WAITING: usize = 20_000;

/// How long spans wait that no build expects: those sent before a build
/// begins.
const WAITING_TIME: Duration = Duration::from_secs(60);

/// The trace and the span within it that a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: [u8; 16],
    /// The span.
    pub span: [u8; 8],
}

impl TraceContext {
    /// Reads the `traceparent` header of W3C Trace Context.
    pub fn from_traceparent(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
        if version.len() != 2 || version == "ff" {
            return None;
        }
        let context = Self {
            trace: from_hex(trace)?,
            span: from_hex(span)?,
        };
        let is_valid = context.trace != [0; 16] && context.span != [0; 8];
        is_valid.then_some(context)
    }

    fn random() -> Self {
        let digest = digest_of(SessionId::random().as_str());
        Self {
            trace: from_hex(&digest.digest()[..32]).unwrap_or([1; 16]),
            span: [0; 8],
        }
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{}-{}-01",
            hex::encode(self.trace),
            hex::encode(self.span)
        )
    }
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// Spans of clients, by trace.
#[derive(Default)]
pub(super) struct SpanPool(Mutex<HashMap<[u8; 16], Waiting>>);

struct Waiting {
    spans: Vec<Value>,
    last: Instant,
    /// How many builds will take them.
    builds: usize,
}

impl SpanPool {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 16], Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the spans of a trace until they are taken.
    pub(super) fn expect(&self, context: TraceContext) {
        waiting(&mut self.lock(), context.trace).builds += 1;
    }

    /// The spans of a trace so far. Other builds of the same trace get them too.
    pub(super) fn take(&self, context: TraceContext) -> Vec<Value> {
        let mut pool = self.lock();
        let Some(waiting) = pool.get_mut(&context.trace) else {
            return Vec::new();
        };
        waiting.builds = waiting.builds.saturating_sub(1);
        match waiting.builds {
            0 => pool
                .remove(&context.trace)
                .map_or_else(Vec::new, |it| it.spans),
            _ => waiting.spans.clone(),
        }
    }

    fn add(&self, spans: Vec<([u8; 16], Value)>) {
        let mut pool = self.lock();
        pool.retain(|_, waiting| waiting.builds > 0 || waiting.last.elapsed() < WAITING_TIME);
        let mut room = MAX_WAITING;
        for waiting in pool.values() {
            room = room.saturating_sub(waiting.spans.len());
        }
        for (trace, span) in spans.into_iter().take(room) {
            let waiting = waiting(&mut pool, trace);
            waiting.spans.push(span);
            waiting.last = Instant::now();
        }
    }
}

fn waiting(pool: &mut HashMap<[u8; 16], Waiting>, trace: [u8; 16]) -> &mut Waiting {
    pool.entry(trace).or_insert_with(|| Waiting {
        spans: Vec::new(),
        last: Instant::now(),
        builds: 0,
    })
}

impl History {
    /// Takes spans from clients, for the traces of their builds.
    pub fn add_spans(&self, spans: &[ResourceSpans]) {
        let mut found = Vec::new();
        for of_resource in spans {
            for of_scope in &of_resource.scope_spans {
                for span in &of_scope.spans {
                    let Ok(trace) = <[u8; 16]>::try_from(span.trace_id.as_ref()) else {
                        continue;
                    };
                    let resource = of_resource.resource.as_ref();
                    let scope = of_scope.scope.as_ref();
                    found.push((trace, span_json::of_span(span, resource, scope)));
                }
            }
        }
        self.shared.spans.add(found);
    }
}

/// The spans of a build and its steps, as part of the client's trace if there
/// is one.
pub(super) fn of_steps(
    client: Option<TraceContext>,
    record: &BuildHistoryRecord,
    steps: &[StepFacts],
) -> Vec<Value> {
    let context = client.unwrap_or_else(TraceContext::random);
    let root = span_id(&format!("{context} {}", record.r#ref));
    let time = |time: &Option<prost_types::Timestamp>| {
        time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok())
    };
    let build = SpanText {
        trace: context.trace,
        span: root,
        parent: (context.span != [0; 8]).then_some(context.span),
        name: "solve",
        kind: span::SpanKind::Server as i32,
        start: time(&record.created_at),
        end: time(&record.completed_at),
        attributes: json!([span_json::text("ref", &record.r#ref)]),
        error: record.error.as_ref().map(|error| error.message.as_str()),
        children: steps.len(),
    };
    let mut spans = vec![build.to_json()];
    // What fails before it begins, such as for a missing file, is of interest.
    let is_worth = |step: &&StepFacts| step.started.is_some() || !step.error.is_empty();
    for step in steps.iter().filter(is_worth) {
        let step = SpanText {
            trace: context.trace,
            span: span_id(&format!("{context} {}", step.digest)),
            parent: Some(root),
            name: &step.name,
            kind: span::SpanKind::Internal as i32,
            start: time(&step.started).or_else(|| time(&step.completed)),
            end: time(&step.completed).or_else(|| time(&record.completed_at)),
            attributes: json!([
                span_json::text("vertex", &step.digest),
                span_json::flag("cached", step.cached),
            ]),
            error: (!step.error.is_empty()).then_some(step.error.as_str()),
            children: 0,
        };
        spans.push(step.to_json());
    }
    spans
}

fn span_id(name: &str) -> [u8; 8] {
    from_hex(&digest_of(name).digest()[..16]).unwrap_or([1; 8])
}

/// A trace as a blob: one object after the other.
pub(super) fn encode(spans: &[Value]) -> Vec<u8> {
    let mut text = Vec::new();
    for span in spans {
        // Writing values of text and numbers to memory cannot fail.
        let _ = serde_json::to_writer_pretty(&mut text, span);
        text.push(b'\n');
    }
    text
}
