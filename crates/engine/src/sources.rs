//! Where trees come from: one value per kind of source.

use kiln_registry::Client;
use kiln_source::{ImageSource, LayoutSource, LocalSource};
use kiln_store::Store;

/// The sources of a worker.
pub(crate) struct Sources {
    /// Images in registries.
    pub(crate) images: ImageSource,
    /// Images in OCI layouts of clients.
    pub(crate) layouts: LayoutSource,
    /// Directories of clients.
    pub(crate) locals: LocalSource,
}

impl Sources {
    pub(crate) fn new(store: &Store, registry: Client) -> Self {
        Self {
            images: ImageSource::new(store.clone(), registry),
            layouts: LayoutSource::new(store.clone()),
            locals: LocalSource::new(store.clone()),
        }
    }
}
