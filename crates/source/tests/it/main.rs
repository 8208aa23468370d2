//! Tests of the sources, through their public interface.

#![allow(clippy::unwrap_used)]

mod attestations;
mod blob;
mod filter;
mod git;
mod git_bundles;
mod git_signatures;
mod http;
mod http_content;
mod image;
mod layout;
mod local;
mod remote;
mod remote_layout;
mod tree;

use std::path::Path;
use std::sync::Arc;

use kiln_registry::{Client, ClientOptions};
use kiln_source::{
    GitSource, ImageSource, LayoutSource, LocalIdentifier, LocalProgress, LocalSource,
    PullProgress, SourceError,
};
use kiln_store::lease::Lease;
use kiln_store::{Ref, Store, StoreOptions};
use tempfile::TempDir;

/// A store of its own.
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
    _lease: Lease,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let store = Store::open(StoreOptions {
            root: dir.path().join("root"),
        })
        .expect("store");
        let lease = store.lease().expect("lease");
        Self {
            dir,
            store,
            _lease: lease,
        }
    }

    /// An empty directory.
    pub(crate) fn directory(&self, name: &str) -> std::path::PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(&path).expect("directory");
        path
    }

    pub(crate) async fn snapshot(
        &self,
        directory: &Path,
        identifier: &LocalIdentifier,
    ) -> Result<Ref, SourceError> {
        LocalSource::new(self.store.clone())
            .snapshot(identifier, directory, "key", quiet())
            .await
    }
}

pub(crate) fn git_source(fixture: &Fixture) -> GitSource {
    let client = Client::new(ClientOptions::default()).expect("client");
    let images = ImageSource::new(fixture.store.clone(), client);
    let layouts = LayoutSource::new(fixture.store.clone());
    GitSource::new(fixture.store.clone(), Default::default(), images, layouts)
}

pub(crate) fn context() -> LocalIdentifier {
    LocalIdentifier {
        name: "context".into(),
        ..LocalIdentifier::default()
    }
}

pub(crate) fn quiet() -> LocalProgress {
    Arc::new(|_| {})
}

pub(crate) fn unwatched() -> PullProgress {
    Arc::new(|_, _| {})
}
