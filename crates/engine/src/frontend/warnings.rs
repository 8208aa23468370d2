//! Reports what a Dockerfile should rather do otherwise.

use kiln_dockerfile::{Source, Warning};
use kiln_session::progress::{Update, Warning as ProgressWarning};

use super::excerpt::{ranges, source_file};
use crate::bridge::Bridge;

/// Sends lint warnings to the client, on the step that read the Dockerfile.
pub(super) fn report(bridge: &Bridge, source: &Source, warnings: &[Warning]) {
    if warnings.is_empty() {
        return;
    }
    let head = source
        .map
        .definition
        .as_ref()
        .and_then(kiln_llb::Definition::head);
    let Some(vertex) = head else { return };
    let warnings = warnings.iter().map(|warning| ProgressWarning {
        vertex: vertex.to_string(),
        level: 1,
        short: short(warning).into_bytes(),
        detail: vec![warning.rule.description.as_bytes().to_vec()],
        url: warning.rule.url.to_owned(),
        source: Some(source_file(source)),
        ranges: ranges(warning.location).collect(),
    });
    bridge.progress.update(Update {
        warnings: warnings.collect(),
        ..Update::default()
    });
}

/// `RuleName: what is wrong (line 3)`, as BuildKit's tools show it.
fn short(warning: &Warning) -> String {
    format!(
        "{}: {} (line {})",
        warning.rule.name, warning.message, warning.location.first
    )
}
