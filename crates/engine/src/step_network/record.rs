//! What is told of the requests of a step.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use kiln_proxy::Record;

use crate::jobs::Reporter;

/// What is known of the requests of a step.
pub(crate) enum Seen {
    /// It had a network of its own, or none.
    Nothing,
    /// It had a proxy, but its result is an earlier one.
    Unrecorded,
    /// Everything.
    Everything(Arc<Record>),
}

/// Lists requests in the output of their step.
pub(crate) fn show(reporter: &Reporter, record: &Record) {
    if record.requests.is_empty() && record.denied.is_empty() {
        return;
    }
    let mut text = String::from("proxy network requests:\n");
    for it in &record.requests {
        let _ = writeln!(text, "- {} {} -> {}", it.method, it.url, it.status);
    }
    for it in &record.denied {
        let _ = writeln!(text, "- {} {} denied: {}", it.method, it.url, it.reason);
    }
    reporter.log(2, &Bytes::from(text));
}
