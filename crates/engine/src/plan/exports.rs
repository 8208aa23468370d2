//! What a plan would write and push.

use kiln_exporter::Output;

use super::document::{Certainty, PlannedCacheExport, PlannedOutput};
use super::layers::{Layers, told};
use crate::cache_transfer::CacheExport;
use crate::export::Export;

/// The outputs that were asked for, as far as they are known before there is a result.
pub(super) fn outputs(kinds: Vec<String>, exports: &[Export]) -> Vec<PlannedOutput> {
    let outputs = kinds.into_iter().zip(exports).map(|(kind, export)| {
        let (names, pushed) = match export.output() {
            Output::Image(options) => {
                let pushed = options.destinations(None).into_iter();
                let pushed = pushed.map(|name| name.to_string());
                (options.image.names.clone(), pushed.collect())
            }
            Output::Archive(options) => (options.image.names.clone(), Vec::new()),
            Output::Local(_) | Output::Tar(_) => (Vec::new(), Vec::new()),
        };
        PlannedOutput {
            kind,
            destination: None,
            names,
            pushed,
            layers: Vec::new(),
            has_new_layers: false,
        }
    });
    outputs.collect()
}

/// Adds the layers of one result to the images among the outputs; `None` for a result that would be made.
pub(super) fn add_layers(
    outputs: &mut [PlannedOutput],
    exports: &[Export],
    layers: Option<&Layers>,
) {
    let images = outputs.iter_mut().zip(exports);
    for (output, _) in images.filter(|(_, export)| export.compression().is_some()) {
        match layers {
            Some(layers) => {
                output.layers.extend(told(&layers.known));
                output.has_new_layers |= layers.has_unnamed;
            }
            None => output.has_new_layers = true,
        }
    }
}

/// Whether exports would have the files of a result brought here; `None` if they would not.
pub(super) fn need(exports: &[Export]) -> Option<Certainty> {
    let needs = exports.iter().filter_map(|export| match export.output() {
        Output::Local(_) | Output::Tar(_) | Output::Archive(_) => Some(Certainty::Sure),
        // What the registry has is not sent, and what is not sent is not needed.
        Output::Image(options) if options.push => Some(Certainty::Possible),
        Output::Image(_) => None,
    });
    needs.min()
}

/// The caches that would be written.
pub(super) fn cache_exports(
    kinds: impl Iterator<Item = String>,
    exports: &[CacheExport],
) -> Vec<PlannedCacheExport> {
    let planned = kinds.zip(exports).map(|(kind, export)| PlannedCacheExport {
        kind,
        destination: export.destination().to_string(),
    });
    planned.collect()
}
