//! History events for templates: the protocol's messages with the names that
//! they have in Go.

use std::collections::BTreeMap;

use kiln_client::{BuildHistoryEvent, BuildHistoryRecord, BuildResultInfo, Descriptor};
use kiln_protocol::{control, rpc};

use crate::template::{Value, optional};

pub(super) fn event_value(event: &BuildHistoryEvent) -> Value {
    let kind = Value::Enum {
        number: event.r#type,
        name: event.r#type().as_str_name(),
    };
    Value::Struct(vec![
        optional("Type", "type", kind),
        optional("Record", "record", event.record.as_ref().map(record)),
    ])
}

fn record(record: &BuildHistoryRecord) -> Value {
    let results = record.results.iter();
    let results = results.map(|(platform, info)| (platform.clone(), result(info)));
    Value::Struct(vec![
        optional("Ref", "Ref", record.r#ref.as_str()),
        optional("Frontend", "Frontend", record.frontend.as_str()),
        optional("FrontendAttrs", "FrontendAttrs", &record.frontend_attrs),
        optional("Exporters", "Exporters", list(&record.exporters, exporter)),
        optional("Error", "error", record.error.as_ref().map(status)),
        optional(
            "CreatedAt",
            "CreatedAt",
            record.created_at.as_ref().map(time),
        ),
        optional(
            "CompletedAt",
            "CompletedAt",
            record.completed_at.as_ref().map(time),
        ),
        optional("Logs", "logs", record.logs.as_ref().map(descriptor)),
        optional(
            "ExporterResponse",
            "ExporterResponse",
            &record.exporter_response,
        ),
        optional("Result", "Result", record.result.as_ref().map(result)),
        optional("Results", "Results", map(results.collect())),
        optional("Generation", "Generation", record.generation),
        optional("Trace", "trace", record.trace.as_ref().map(descriptor)),
        optional("Pinned", "pinned", record.pinned),
        optional("NumCachedSteps", "numCachedSteps", record.num_cached_steps),
        optional("NumTotalSteps", "numTotalSteps", record.num_total_steps),
        optional(
            "NumCompletedSteps",
            "numCompletedSteps",
            record.num_completed_steps,
        ),
        optional(
            "ExternalError",
            "externalError",
            record.external_error.as_ref().map(descriptor),
        ),
        optional("NumWarnings", "numWarnings", record.num_warnings),
    ])
}

fn list<T>(items: &[T], value: impl Fn(&T) -> Value) -> Value {
    match items.is_empty() {
        true => Value::Nil,
        false => Value::List(items.iter().map(value).collect()),
    }
}

fn map(entries: BTreeMap<String, Value>) -> Value {
    match entries.is_empty() {
        true => Value::Nil,
        false => Value::Map(entries),
    }
}

fn exporter(exporter: &control::Exporter) -> Value {
    Value::Struct(vec![
        optional("Type", "Type", exporter.r#type.as_str()),
        optional("Attrs", "Attrs", &exporter.attrs),
    ])
}

fn status(status: &rpc::Status) -> Value {
    let details = list(&status.details, |detail| {
        Value::Struct(vec![
            optional("TypeUrl", "type_url", detail.type_url.as_str()),
            optional("Value", "value", Value::Bytes(detail.value.clone())),
        ])
    });
    Value::Struct(vec![
        optional("Code", "code", status.code),
        optional("Message", "message", status.message.as_str()),
        optional("Details", "details", details),
    ])
}

fn time(time: &prost_types::Timestamp) -> Value {
    Value::Struct(vec![
        optional("Seconds", "seconds", time.seconds),
        optional("Nanos", "nanos", time.nanos),
    ])
}

fn descriptor(descriptor: &Descriptor) -> Value {
    Value::Struct(vec![
        optional("MediaType", "media_type", descriptor.media_type.as_str()),
        optional("Digest", "digest", descriptor.digest.as_str()),
        optional("Size", "size", descriptor.size),
        optional("Annotations", "annotations", &descriptor.annotations),
    ])
}

fn result(info: &BuildResultInfo) -> Value {
    let results = info.results.iter();
    let results = results.map(|(index, result)| (index.to_string(), descriptor(result)));
    // Daemons before version 0.12 have one result, elsewhere.
    #[allow(deprecated)]
    let old = info.result_deprecated.as_ref().map(descriptor);
    Value::Struct(vec![
        optional("ResultDeprecated", "ResultDeprecated", old),
        optional(
            "Attestations",
            "Attestations",
            list(&info.attestations, descriptor),
        ),
        optional("Results", "Results", map(results.collect())),
    ])
}
