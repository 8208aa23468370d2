//! One span in the JSON form that BuildKit stores: that of the records of
//! OpenTelemetry's Go library.

use kiln_protocol::otlp_attributes::{AnyValue, InstrumentationScope, KeyValue, any_value};
use kiln_protocol::otlp_resource::Resource;
use kiln_protocol::otlp_trace::{Span, Status, span, status};
use kiln_session::progress::Timestamp;
use serde_json::{Value, json};

/// A span of the engine's own.
pub(super) struct SpanText<'a> {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    pub(super) parent: Option<[u8; 8]>,
    pub(super) name: &'a str,
    pub(super) kind: i32,
    pub(super) start: Option<Timestamp>,
    pub(super) end: Option<Timestamp>,
    pub(super) attributes: Value,
    pub(super) error: Option<&'a str>,
    pub(super) children: usize,
}

impl SpanText<'_> {
    pub(super) fn to_json(&self) -> Value {
        let time = |time: Option<Timestamp>| time.unwrap_or_default().to_string();
        let status = match self.error {
            Some(text) => json!({"Code": "Error", "Description": text}),
            None => json!({"Code": "Unset", "Description": ""}),
        };
        let own = json!([text("service.name", "buildkitd")]);
        json!({
            "Name": self.name,
            "SpanContext": context(&self.trace, &self.span, ""),
            "Parent": context(&self.trace, self.parent.as_ref().map_or(&[], |id| &id[..]), ""),
            "SpanKind": self.kind,
            "StartTime": time(self.start),
            "EndTime": time(self.end),
            "Attributes": self.attributes,
            "Events": null,
            "Links": null,
            "Status": status,
            "DroppedAttributes": 0,
            "DroppedEvents": 0,
            "DroppedLinks": 0,
            "ChildSpanCount": self.children,
            "Resource": own,
            "InstrumentationScope": scope(None),
            "InstrumentationLibrary": scope(None),
        })
    }
}

/// A span as a client sent it.
pub(super) fn of_span(
    span: &Span,
    resource: Option<&Resource>,
    library: Option<&InstrumentationScope>,
) -> Value {
    json!({
        "Name": span.name,
        "SpanContext": context(&span.trace_id, &span.span_id, &span.trace_state),
        "Parent": context(&span.trace_id, &span.parent_span_id, ""),
        "SpanKind": span.kind,
        "StartTime": time(span.start_time_unix_nano),
        "EndTime": time(span.end_time_unix_nano),
        "Attributes": attributes(&span.attributes),
        "Events": span.events.iter().map(event).collect::<Vec<_>>(),
        "Links": span.links.iter().map(link).collect::<Vec<_>>(),
        "Status": span_status(span.status.as_ref()),
        "DroppedAttributes": span.dropped_attributes_count,
        "DroppedEvents": span.dropped_events_count,
        "DroppedLinks": span.dropped_links_count,
        "ChildSpanCount": 0,
        "Resource": resource.map(|resource| attributes(&resource.attributes)),
        "InstrumentationScope": scope(library),
        "InstrumentationLibrary": scope(library),
    })
}

/// A missing span id makes a context that is not valid, as that of a root's
/// parent is.
fn context(trace: &[u8], span: &[u8], state: &str) -> Value {
    let is_valid = !span.is_empty();
    let id = |bytes: &[u8], length: usize| match is_valid {
        true => hex::encode(bytes),
        false => "0".repeat(2 * length),
    };
    json!({
        "TraceID": id(trace, 16),
        "SpanID": id(span, 8),
        "TraceFlags": if is_valid { "01" } else { "00" },
        "TraceState": state,
        "Remote": false,
    })
}

fn time(nanoseconds: u64) -> String {
    Timestamp::from_nanosecond(i128::from(nanoseconds))
        .unwrap_or_default()
        .to_string()
}

fn event(event: &span::Event) -> Value {
    json!({
        "Name": event.name,
        "Attributes": attributes(&event.attributes),
        "DroppedAttributeCount": event.dropped_attributes_count,
        "Time": time(event.time_unix_nano),
    })
}

fn link(link: &span::Link) -> Value {
    json!({
        "SpanContext": context(&link.trace_id, &link.span_id, &link.trace_state),
        "Attributes": attributes(&link.attributes),
        "DroppedAttributeCount": link.dropped_attributes_count,
    })
}

fn span_status(found: Option<&Status>) -> Value {
    let code = match found.map_or(status::StatusCode::Unset, Status::code) {
        status::StatusCode::Unset => "Unset",
        status::StatusCode::Ok => "Ok",
        status::StatusCode::Error => "Error",
    };
    json!({"Code": code, "Description": found.map_or("", |status| &status.message)})
}

fn scope(library: Option<&InstrumentationScope>) -> Value {
    json!({
        "Name": library.map_or("", |library| &library.name),
        "Version": library.map_or("", |library| &library.version),
        "SchemaURL": "",
    })
}

fn attributes(attributes: &[KeyValue]) -> Value {
    let each = attributes.iter().filter_map(|attribute| {
        let (kind, value) = value(attribute.value.as_ref()?)?;
        Some(json!({"Key": attribute.key, "Value": {"Type": kind, "Value": value}}))
    });
    each.collect()
}

/// A text attribute.
pub(super) fn text(key: &str, value: &str) -> Value {
    json!({"Key": key, "Value": {"Type": "STRING", "Value": value}})
}

/// An attribute that is true or false.
pub(super) fn flag(key: &str, value: bool) -> Value {
    json!({"Key": key, "Value": {"Type": "BOOL", "Value": value}})
}

/// A value with the name of its type; maps and bytes have none.
fn value(found: &AnyValue) -> Option<(&'static str, Value)> {
    Some(match found.value.as_ref()? {
        any_value::Value::StringValue(text) => ("STRING", json!(text)),
        any_value::Value::BoolValue(flag) => ("BOOL", json!(flag)),
        any_value::Value::IntValue(number) => ("INT64", json!(number)),
        any_value::Value::DoubleValue(number) => ("FLOAT64", json!(number)),
        any_value::Value::ArrayValue(array) => {
            let values: Vec<_> = array.values.iter().filter_map(value).collect();
            let kind = match values.first().map(|(kind, _)| *kind) {
                Some("BOOL") => "BOOLSLICE",
                Some("INT64") => "INT64SLICE",
                Some("FLOAT64") => "FLOAT64SLICE",
                _ => "STRINGSLICE",
            };
            let values = values.into_iter().map(|(_, value)| value).collect();
            (kind, values)
        }
        any_value::Value::KvlistValue(_)
        | any_value::Value::BytesValue(_)
        | any_value::Value::StringValueStrindex(_) => return None,
    })
}
