//! Where trees come from: one value per kind of source.

use kiln_containerd::Containerd;
use kiln_registry::{Client, ProxySettings};
use kiln_source::{GitSource, HttpSource, ImageSource, LayoutSource, LocalSource};
use kiln_store::Store;

/// The sources of a worker.
pub(crate) struct Sources {
    /// Images in registries, and those of the containerd that keeps images.
    pub(crate) images: ImageSource,
    /// Images in OCI layouts of clients.
    pub(crate) layouts: LayoutSource,
    /// Directories of clients.
    pub(crate) locals: LocalSource,
    /// Files of web servers.
    pub(crate) files: HttpSource,
    /// Git repositories.
    pub(crate) repositories: GitSource,
}

impl Sources {
    pub(crate) fn new(
        store: &Store,
        (registry, proxies): (Client, ProxySettings),
        containerd: Option<Containerd>,
    ) -> Self {
        let images = ImageSource::new(store.clone(), registry.clone());
        let images = match containerd {
            Some(containerd) => images.with_containerd(containerd),
            None => images,
        };
        let layouts = LayoutSource::new(store.clone());
        Self {
            repositories: GitSource::new(store.clone(), proxies, images.clone(), layouts.clone()),
            images,
            layouts,
            locals: LocalSource::new(store.clone()),
            files: HttpSource::new(store.clone(), registry),
        }
    }
}
