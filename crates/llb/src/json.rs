//! JSON as the protocol's other programs write it: the dump of a definition that the Dockerfile
//! frontend's `frontend.convertllb` request answers with, and the escaping that Go applies.

use crate::definition::Definition;
use kiln_protocol::pb;
use prost::Message as _;
use serde::Serialize;
use value::{Style, Value};

mod action;
mod metadata;
mod op;
mod value;

/// Prints `definition` for people and tools: ops and their metadata by digest, and the source map.
pub fn to_json(definition: &Definition) -> String {
    let mut ops: Vec<_> = definition
        .digests()
        .map(|(digest, bytes)| (digest.to_string(), bytes))
        .collect();
    ops.sort();
    let ops = ops.into_iter().filter_map(|(digest, bytes)| {
        let op = pb::Op::decode(bytes.clone()).ok()?;
        Some((digest, op::op(&op, Style::Proto)))
    });
    let metadata = definition.metadata.iter();
    let metadata =
        metadata.map(|(digest, it)| (digest.clone(), metadata::op_metadata(it, Style::Go)));
    let source = definition.source.clone().unwrap_or_default();
    let dump = Value::Object(vec![
        ("def".into(), Value::Object(ops.collect())),
        ("metadata".into(), Value::Object(metadata.collect())),
        ("source".into(), metadata::source(&source, Style::Proto)),
    ]);
    to_go_json_pretty(&dump)
}

/// A source file with the keys of Go's struct tags, as lint results have it.
pub fn source_info(info: &pb::SourceInfo) -> impl Serialize + use<> {
    metadata::source_info(info, Style::Go)
}

/// JSON whose fields keep their order.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct OrderedJson(Value);

/// An op with the keys of Go's struct tags, as provenance and `debug dump-llb` have it.
pub fn go_op(op: &pb::Op) -> OrderedJson {
    OrderedJson(op::op(op, Style::Go))
}

/// What is said of an op, with the keys of Go's struct tags.
pub fn go_op_metadata(metadata: &pb::OpMetadata) -> OrderedJson {
    OrderedJson(metadata::op_metadata(metadata, Style::Go))
}

/// The places that an op came from, as provenance has them.
pub fn go_locations(locations: &pb::Locations) -> OrderedJson {
    OrderedJson(metadata::locations(locations, Style::Go))
}

/// An op in protobuf's JSON form, as error details have it.
pub fn proto_op(op: &pb::Op) -> impl Serialize + use<> {
    op::op(op, Style::Proto)
}

/// JSON on one line, escaped like Go's encoder does.
pub fn to_go_json(value: &impl Serialize) -> String {
    escape(&serde_json::to_string(value).unwrap_or_default())
}

/// JSON indented by two spaces, escaped like Go's encoder does.
pub fn to_go_json_pretty(value: &impl Serialize) -> String {
    escape(&serde_json::to_string_pretty(value).unwrap_or_default())
}

/// Go escapes what a browser might take for markup. Those characters only occur inside strings, so
/// replacing them in the finished text is enough.
fn escape(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// An object with one entry per element of a map.
fn map<'a, V: 'a>(
    entries: impl IntoIterator<Item = (&'a String, &'a V)>,
    value: impl Fn(&V) -> Value,
) -> Value {
    let entries = entries.into_iter();
    Value::Object(entries.map(|(key, it)| (key.clone(), value(it))).collect())
}
