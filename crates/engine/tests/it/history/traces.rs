//! Traces of builds.

use kiln_engine::history::TraceContext;
use kiln_protocol::otlp_attributes::{AnyValue, KeyValue, any_value};
use kiln_protocol::otlp_trace::{ResourceSpans, ScopeSpans, Span};
use oci_spec::image::Digest;
use serde_json::Value;

use super::bench::{BAD, Bench, GOOD};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The spans in a build's trace.
async fn spans(bench: &Bench, build: &str) -> Vec<Value> {
    let trace = bench.record(build).await.trace.unwrap();
    assert_eq!(trace.media_type, "application/vnd.buildkit.otlp.json.v0");
    let digest = Digest::try_from(trace.digest.as_str()).unwrap();
    let text = bench.engine.content().read(&digest, 1 << 20).unwrap();
    serde_json::Deserializer::from_slice(&text)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap()
}

fn named<'a>(spans: &'a [Value], part: &str) -> &'a Value {
    let found = |span: &&Value| span["Name"].as_str().unwrap().contains(part);
    spans
        .iter()
        .find(found)
        .unwrap_or_else(|| panic!("{part} is not in {spans:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_has_a_span() {
    let bench = Bench::new();
    let (name, _) = bench.build(GOOD).await;
    let all = spans(&bench, &name).await;
    let root = named(&all, "solve");
    let step = named(&all, "COPY f /h");
    assert_eq!(step["Parent"], root["SpanContext"]);
    assert_eq!(step["Status"]["Code"], "Unset");
    assert!(step["StartTime"].as_str().unwrap() <= step["EndTime"].as_str().unwrap());
    let (name, _) = bench.build(BAD).await;
    let all = spans(&bench, &name).await;
    let failed = named(&all, "COPY nothing");
    assert_eq!(failed["Status"]["Code"], "Error");
    assert!(
        failed["Status"]["Description"]
            .as_str()
            .unwrap()
            .contains("not found")
    );
}

fn client_span(name: &str, trace: &[u8]) -> ResourceSpans {
    let attribute = KeyValue {
        key: "http.status_code".into(),
        value: Some(AnyValue {
            value: Some(any_value::Value::IntValue(200)),
        }),
        ..KeyValue::default()
    };
    let span = Span {
        trace_id: trace.to_vec().into(),
        span_id: vec![7; 8].into(),
        name: name.into(),
        start_time_unix_nano: 1_700_000_000_000_000_001,
        end_time_unix_nano: 1_700_000_000_000_000_002,
        attributes: vec![attribute],
        ..Span::default()
    };
    let of_scope = ScopeSpans {
        spans: vec![span],
        ..ScopeSpans::default()
    };
    ResourceSpans {
        scope_spans: vec![of_scope],
        ..ResourceSpans::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_the_client_come_in_before_and_after_the_build() {
    let bench = Bench::new();
    let history = bench.engine.history();
    let context = TraceContext::from_traceparent(PARENT).unwrap();
    history.add_spans(&[
        client_span("before", &context.trace),
        client_span("other", &[9; 16]),
    ]);
    let mut request = bench.request(GOOD);
    request.trace = Some(context);
    let name = request.id.clone();
    bench.engine.build(request).await.unwrap();
    history.add_spans(&[client_span("after", &context.trace)]);
    history.finalize(&name).await;

    let all = spans(&bench, &name).await;
    let root = named(&all, "solve");
    assert_eq!(root["Parent"]["SpanID"], "b7ad6b7169203331");
    for span in &all {
        assert_eq!(span["SpanContext"]["TraceID"], TRACE);
        assert_ne!(span["Name"], "other");
    }
    named(&all, "before");
    let after = named(&all, "after");
    assert_eq!(after["StartTime"], "2023-11-14T22:13:20.000000001Z");
    assert_eq!(after["Attributes"][0]["Value"]["Type"], "INT64");
    assert_eq!(after["Attributes"][0]["Value"]["Value"], 200);
    assert_eq!(bench.record(&name).await.generation, 1);
}

#[test]
fn trace_parents_are_read() {
    let parsed = TraceContext::from_traceparent(PARENT).unwrap();
    assert_eq!(parsed.to_string(), PARENT);
    for bad in [
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c",
        "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c8031zz-b7ad6b7169203331-01",
        "00-äääääääääääääääääääääääääääääääää-b7ad6b7169203331-01",
    ] {
        assert_eq!(TraceContext::from_traceparent(bad), None, "{bad}");
    }
}
