//! `buildctl debug monitor`: builds as they come and go.

use std::fmt::Write as _;

use futures::TryStreamExt as _;
use kiln_client::{BuildHistoryEvent, BuildHistoryRecord, Descriptor, HistoryRequest};

use crate::arguments::MonitorArguments;
use crate::context::{Context, print};
use crate::failure::Failure;
use crate::root;

pub(super) fn run(context: &Context, arguments: &MonitorArguments) -> Result<(), Failure> {
    root::block_on(async {
        let client = context.daemon("the history of builds").await?;
        let request = HistoryRequest {
            active_only: !arguments.completed,
            reference: arguments.r#ref.clone(),
            ..HistoryRequest::default()
        };
        let mut events = std::pin::pin!(client.histories(request).await?);
        while let Some(event) = events.try_next().await? {
            print(&describe(&event))?;
        }
        Ok(())
    })
}

fn describe(event: &BuildHistoryEvent) -> String {
    let record = event.record.clone().unwrap_or_default();
    let mut out = format!(
        "event: {} ref:{}\n",
        event.r#type().as_str_name(),
        record.r#ref
    );
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(out, "  {name}: {value}");
    };
    if record.num_total_steps != 0 {
        fact(
            "cache",
            format!("{}/{}", record.num_cached_steps, record.num_total_steps),
        );
    }
    if record.num_warnings != 0 {
        fact("warnings", record.num_warnings.to_string());
    }
    if let Some(logs) = &record.logs {
        fact("logs", descriptor(logs));
    }
    if let Some(trace) = &record.trace {
        fact("trace", descriptor(trace));
    }
    results(&record, &mut fact);
    out
}

fn results(record: &BuildHistoryRecord, fact: &mut impl FnMut(&str, String)) {
    let unnamed = record.result.iter().map(|result| (String::new(), result));
    let named = record.results.iter();
    let named = named.map(|(platform, result)| (format!("[{platform}] "), result));
    for (prefix, result) in unnamed.chain(named) {
        let mut descriptors = result.results.values().collect::<Vec<_>>();
        if descriptors.is_empty() {
            // Daemons before version 0.12 have one result, elsewhere.
            #[allow(deprecated)]
            descriptors.extend(&result.result_deprecated);
        }
        for result in descriptors {
            fact(&format!("{prefix}descriptor"), descriptor(result));
        }
        for attestation in &result.attestations {
            fact(&format!("{prefix}attestation"), descriptor(attestation));
        }
    }
}

/// A descriptor in the text form of protobuf.
fn descriptor(descriptor: &Descriptor) -> String {
    let mut text = format!(
        "media_type:{:?} digest:{:?} size:{}",
        descriptor.media_type, descriptor.digest, descriptor.size
    );
    for (key, value) in &descriptor.annotations {
        let _ = write!(text, " annotations:{{key:{key:?} value:{value:?}}}");
    }
    text
}
