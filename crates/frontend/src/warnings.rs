//! Reports what a Dockerfile should rather do otherwise.

use kiln_dockerfile::{Source, Warning};
use kiln_llb::Definition;

use crate::door::{Door, Notice};
use crate::failure::{Place, source_file};

/// Sends lint warnings to the client, on the step that read the Dockerfile.
pub(crate) async fn report<D: Door>(door: &D, source: &Source, warnings: &[Warning]) {
    if warnings.is_empty() {
        return;
    }
    let head = source.map.definition.as_ref().and_then(Definition::head);
    let Some(vertex) = head else { return };
    let notices = warnings.iter().map(|warning| Notice {
        vertex: vertex.to_string(),
        short: short(warning),
        detail: warning.rule.description,
        url: warning.rule.url,
        place: Place::new(source_file(source), &[warning.location]),
    });
    door.warn(notices.collect()).await;
}

/// `RuleName: what is wrong (line 3)`, as BuildKit's tools show it.
fn short(warning: &Warning) -> String {
    format!(
        "{}: {} (line {})",
        warning.rule.name, warning.message, warning.location.first
    )
}
