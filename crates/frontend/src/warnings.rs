//! Reports what a Dockerfile should rather do otherwise.

use kiln_dockerfile::Warning;
use kiln_llb::Definition;
use kiln_llb::build::SourceMap;

use crate::door::{Door, Notice};
use crate::failure::{Place, source_file};

/// Sends lint warnings to the client, on the step that read the Dockerfile.
pub(crate) async fn report<D: Door>(door: &D, map: &SourceMap, warnings: &[Warning]) {
    if warnings.is_empty() {
        return;
    }
    let head = map.definition.as_ref().and_then(Definition::head);
    let Some(vertex) = head else { return };
    let notices = warnings.iter().map(|warning| Notice {
        vertex: vertex.to_string(),
        short: warning.short(),
        detail: warning.rule.description,
        url: warning.rule.url,
        place: Place::new(source_file(map), &[warning.location]),
    });
    door.warn(notices.collect()).await;
}
