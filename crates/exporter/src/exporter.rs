//! The exporter: one value per engine, shared by all builds.

use std::collections::BTreeMap;

use kiln_store::{Ref, Store};

use crate::compression::Compression;
use crate::error::ExportError;
use crate::input::{ExportInput, Target};
use crate::layers::{LayerBlob, LayerError};
use crate::options::Output;
use crate::progress::Progress;

/// How much of the machine exports may use.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Threads that compress, and as many that copy files.
    pub threads: usize,
    /// Bytes of layer data that may be in memory at once, over all exports.
    pub memory: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            threads,
            memory: 64 << 20,
        }
    }
}

/// Writes build results. A cheap handle; clones share the compression threads and the layer work.
#[derive(Clone)]
pub struct Exporter {
    store: Store,
}

/// One export to be done.
pub struct ExportRequest {
    /// What is wanted.
    pub output: Output,
    /// Where it goes.
    pub target: Target,
    /// Who hears of its course.
    pub progress: Progress,
}

/// An export that is done, or done but for its push.
pub struct Exported {
    /// The keys for the client: `containerimage.digest`, `containerimage.config.digest`, `containerimage.descriptor`,
    /// `image.name`. Empty for `local` and `tar`.
    pub response: BTreeMap<String, String>,
    /// What is left to be pushed; may run beside other exports and the cache export.
    pub push: Option<Push>,
}

/// An image that is complete in the store and wants to be pushed.
pub struct Push {}

impl Exporter {
    /// An exporter of this store's refs.
    pub fn new(store: Store, settings: Settings) -> Self {
        let _ = settings;
        Self { store }
    }

    /// The blobs of a ref's layers, bottom first, made or fetched where they are missing. Concurrent calls share work.
    pub async fn layers(
        &self,
        reference: &Ref,
        compression: &Compression,
    ) -> Result<Vec<LayerBlob>, LayerError> {
        let _ = (&self.store, reference, compression);
        Ok(Vec::new())
    }

    /// Does one export. Dropping the future stops it; a stream or directory is then left as far as it was written.
    pub async fn export(
        &self,
        input: &ExportInput,
        request: ExportRequest,
    ) -> Result<Exported, ExportError> {
        let _ = (input, request);
        Err(ExportError::Canceled)
    }
}

impl Push {
    /// Pushes to every name, over this client.
    pub async fn run(
        self,
        client: &kiln_registry::Client,
        progress: &Progress,
    ) -> Result<(), ExportError> {
        let _ = (client, progress);
        Ok(())
    }
}
