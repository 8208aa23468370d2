//! The exporter: one value per engine, shared by all builds.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_store::{Ref, Store};

use crate::cancel::Cancelled;
use crate::compression::{Compression, Pool};
use crate::error::ExportError;
use crate::input::{ExportInput, Target};
use crate::layers::{LayerBlob, LayerError, LayerWork, Wanted};
use crate::local::{LocalPlan, write_local};
use crate::opened::{is_split, open_trees};
use crate::options::Output;
use crate::progress::Progress;
use crate::push::Push;
use crate::tree_tar::{TarPlan, write_tree_tar};

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
            memory: (32 << 20) + threads * (16 << 20),
        }
    }
}

/// Writes build results. A cheap handle; clones share the compression threads and the layer work.
#[derive(Clone)]
pub struct Exporter {
    pub(crate) store: Store,
    pub(crate) layers: Arc<LayerWork>,
    threads: usize,
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
#[derive(Debug, Default)]
pub struct Exported {
    /// The keys for the client: `containerimage.digest`, `containerimage.config.digest`, `containerimage.descriptor`,
    /// `image.name`. Empty for `local` and `tar`.
    pub response: BTreeMap<String, String>,
    /// What is left to be pushed; may run beside other exports and the cache export.
    pub push: Option<Push>,
}

impl Exporter {
    /// An exporter of this store's refs.
    pub fn new(store: Store, settings: Settings) -> Self {
        let pool = Pool::new(settings.threads, settings.memory);
        let layers = Arc::new(LayerWork::new(store.clone(), pool));
        Self {
            store,
            layers,
            threads: settings.threads.max(1),
        }
    }

    /// The blobs of a ref's layers, bottom first, made or fetched where they are missing. Concurrent calls share the
    /// work. The caller holds a lease, so that blobs stay until they are used.
    pub async fn layers(
        &self,
        reference: &Ref,
        compression: &Compression,
    ) -> Result<Vec<LayerBlob>, LayerError> {
        let wanted = Wanted {
            compression: *compression,
            epoch: None,
            base: Vec::new(),
        };
        self.layers.all(reference, &wanted).await
    }

    /// Does one export. Dropping the future stops it; a stream or directory is then left as far as it was written.
    pub async fn export(
        &self,
        input: &ExportInput,
        request: ExportRequest,
    ) -> Result<Exported, ExportError> {
        let ExportRequest {
            output,
            target,
            progress,
        } = request;
        if input.platforms.is_empty() {
            return Err(ExportError::Result(
                "the build has no result to export".into(),
            ));
        }
        match output {
            Output::Image(options) => self.export_image(input, options, target, &progress).await,
            Output::Archive(options) => {
                self.export_archive(input, options, target, &progress).await
            }
            Output::Local(options) => {
                let Target::Directory(dest) = target else {
                    return Err(unfit("local", &target));
                };
                let epoch = options.epoch.resolve(input.epoch);
                let split = is_split(input, options.platform_split);
                let threads = self.threads;
                self.with_trees(
                    input,
                    &progress,
                    "copying files",
                    move |trees, step, cancelled| {
                        write_local(
                            &dest,
                            trees,
                            LocalPlan {
                                mode: options.mode,
                                split,
                                epoch,
                                threads,
                                cancelled,
                            },
                            step,
                        )
                    },
                )
                .await
            }
            Output::Tar(options) => {
                let Target::Stream(out) = target else {
                    return Err(unfit("tar", &target));
                };
                let epoch = options.epoch.resolve(input.epoch);
                let split = is_split(input, options.platform_split);
                self.with_trees(
                    input,
                    &progress,
                    "sending tarball",
                    move |trees, step, cancelled| {
                        write_tree_tar(
                            out,
                            trees,
                            TarPlan {
                                split,
                                epoch,
                                cancelled,
                            },
                            step,
                        )
                    },
                )
                .await
            }
        }
    }

    /// Opens the result's trees and works on them, on a thread that may block.
    async fn with_trees(
        &self,
        input: &ExportInput,
        progress: &Progress,
        step: &'static str,
        work: impl FnOnce(
            Vec<crate::opened::OpenTree>,
            &crate::progress::Step,
            Cancelled,
        ) -> Result<(), ExportError>
        + Send
        + 'static,
    ) -> Result<Exported, ExportError> {
        for result in &input.platforms {
            if let Some(reference) = &result.reference {
                reference
                    .materialize()
                    .await
                    .map_err(|error| ExportError::Store(error.into()))?;
            }
        }
        let (store, input) = (self.store.clone(), input.clone());
        let step = progress.start(step);
        let (cancelled, _guard) = Cancelled::new();
        blocking(move || {
            let outcome =
                open_trees(&store, &input).and_then(|trees| work(trees, &step, cancelled));
            step.end(outcome)
        })
        .await?;
        Ok(Exported::default())
    }
}

/// Runs work on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ExportError> + Send + 'static,
) -> Result<T, ExportError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ExportError::Store(error.into()))?
}

/// The error for a target that an output cannot write to.
pub(crate) fn unfit(kind: &'static str, target: &Target) -> ExportError {
    let target = match target {
        Target::Directory(_) => "a directory",
        Target::Stream(_) => "a file or standard output",
        Target::Store => "nowhere; give it a destination (dest=)",
    };
    ExportError::Target { kind, target }
}
