//! Where trees come from: one value per kind of source.

use kiln_containerd::Containerd;
use kiln_registry::Client;
use kiln_source::{ImageSource, LayoutSource, LocalSource};
use kiln_store::Store;

/// The sources of a worker.
pub(crate) struct Sources {
    /// Images in registries, and those of the containerd that keeps images.
    pub(crate) images: ImageSource,
    /// Images in OCI layouts of clients.
    pub(crate) layouts: LayoutSource,
    /// Directories of clients.
    pub(crate) locals: LocalSource,
}

impl Sources {
    pub(crate) fn new(store: &Store, registry: Client, containerd: Option<Containerd>) -> Self {
        let images = ImageSource::new(store.clone(), registry);
        Self {
            images: match containerd {
                Some(containerd) => images.with_containerd(containerd),
                None => images,
            },
            layouts: LayoutSource::new(store.clone()),
            locals: LocalSource::new(store.clone()),
        }
    }
}
