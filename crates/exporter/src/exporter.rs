//! The exporter: one value per engine, shared by all builds.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;
use kiln_session::transfer::{Others, RemoteTarget, TransferError};
use kiln_store::{Ref, Store};

use crate::attestation::{self, Said, StatementFiles};
use crate::cancel::Cancelled;
use crate::compression::{Compression, Pool};
use crate::containerd::ImageStore;
use crate::error::ExportError;
use crate::input::{ExportInput, Shape, Target};
use crate::layers::{Absent, LayerBlob, LayerError, LayerWork, Wanted};
use crate::local::{LocalPlan, SendPlan, send_trees, write_local};
use crate::opened::{OpenTree, folder_name, is_split, open_trees};
use crate::options::{EpochOption, LocalMode, LocalOptions, Output};
use crate::progress::Progress;
use crate::push::{EarlyUploads, Push};
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
    /// Keeps images in place of the store.
    pub(crate) images: Option<ImageStore>,
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
    /// How layers of an image that is pushed may be sent while they are made. Without it they all wait for the push.
    pub early: Option<EarlyUploads>,
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
            images: None,
            threads: settings.threads.max(1),
        }
    }

    /// The same exporter; images get their names in a containerd, not in the store.
    pub fn with_images(self, images: ImageStore) -> Self {
        Self {
            images: Some(images),
            ..self
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
            absent: Absent::Fetch,
            observer: None,
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
            early,
        } = request;
        if input.platforms.is_empty() {
            return Err(ExportError::Result(
                "the build has no result to export".into(),
            ));
        }
        match output {
            Output::Image(options) => {
                let Target::Store = target else {
                    return Err(unfit("image", &target));
                };
                self.export_image(input, options, early, &progress).await
            }
            Output::Archive(options) => {
                self.export_archive(input, options, target, &progress).await
            }
            Output::Local(options) => {
                if let Target::RemoteDirectory(client) = &target {
                    let client = Arc::clone(client);
                    return self.send_local(input, options, client, &progress).await;
                }
                let Target::Directory(dest) = target else {
                    return Err(unfit("local", &target));
                };
                let files = FilePlan::new(
                    input,
                    options.platform_split,
                    options.epoch,
                    options.attestation_prefix,
                );
                let FilePlan { split, epoch, .. } = files;
                let threads = self.threads;
                self.with_trees(
                    input,
                    files,
                    (&progress, "copying files"),
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
                let files = FilePlan::new(
                    input,
                    options.platform_split,
                    options.epoch,
                    options.attestation_prefix,
                );
                let FilePlan { split, epoch, .. } = files;
                self.with_trees(
                    input,
                    files,
                    (&progress, "sending tarball"),
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

    /// Sends the files of a result into a directory of a client elsewhere.
    async fn send_local(
        &self,
        input: &ExportInput,
        options: LocalOptions,
        client: Arc<dyn RemoteTarget>,
        progress: &Progress,
    ) -> Result<Exported, ExportError> {
        let files = FilePlan::new(
            input,
            options.platform_split,
            options.epoch,
            options.attestation_prefix,
        );
        let plan = SendPlan {
            split: files.split,
            epoch: files.epoch,
        };
        let others = match options.mode {
            LocalMode::Copy => Others::Keep,
            LocalMode::Delete => Others::Remove,
        };
        // Goes with this future, and takes the transfer along.
        let (_alive, gone) = tokio::sync::oneshot::channel::<()>();
        self.with_trees(
            input,
            files,
            (progress, "copying files"),
            move |trees, step, _cancelled| {
                let sending = async {
                    let link = client.open(others).await;
                    let link =
                        link.map_err(|status| ExportError::Transfer(TransferError::Call(status)))?;
                    send_trees(link, trees, plan, step).await
                };
                tokio::runtime::Handle::current().block_on(async {
                    tokio::select! {
                        sent = sending => sent,
                        _ = gone => Err(ExportError::Canceled),
                    }
                })
            },
        )
        .await
    }

    /// Opens the result's trees and works on them, on a thread that may block.
    async fn with_trees(
        &self,
        input: &ExportInput,
        files: FilePlan,
        (progress, step): (&Progress, &'static str),
        work: impl FnOnce(Vec<OpenTree>, &crate::progress::Step, Cancelled) -> Result<(), ExportError>
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
        let said = self.statements_for_files(input).await?;
        let (store, input) = (self.store.clone(), input.clone());
        let step = progress.start(step);
        let (cancelled, _guard) = Cancelled::new();
        blocking(move || {
            let trees = open_trees(&store, &input).and_then(|mut trees| {
                for (tree, said) in trees.iter_mut().zip(&said) {
                    files.lay_statements(&store, tree, said, &cancelled)?;
                }
                Ok(trees)
            });
            let outcome = trees.and_then(|trees| work(trees, &step, cancelled));
            step.end(outcome)
        })
        .await?;
        Ok(Exported::default())
    }
}

impl Exporter {
    /// What is said of each platform's result beside its files.
    async fn statements_for_files(
        &self,
        input: &ExportInput,
    ) -> Result<Vec<Vec<Said>>, ExportError> {
        let each = input.platforms.iter().map(async |result| {
            let wanted = result.attestations.iter();
            let wanted = wanted.filter(|attestation| !attestation.is_inline_only());
            attestation::gather(&self.store, wanted).await
        });
        try_join_all(each).await
    }
}

/// How trees of files are laid out.
struct FilePlan {
    /// Whether every platform gets a folder.
    split: bool,
    epoch: Option<i64>,
    attestation_prefix: String,
    is_index: bool,
}

impl FilePlan {
    fn new(
        input: &ExportInput,
        platform_split: Option<bool>,
        epoch: EpochOption,
        attestation_prefix: String,
    ) -> Self {
        Self {
            split: is_split(input, platform_split),
            epoch: epoch.resolve(input.epoch),
            attestation_prefix,
            is_index: input.shape == Shape::Index,
        }
    }

    /// Lays the statements about a tree over it.
    fn lay_statements(
        &self,
        store: &Store,
        tree: &mut OpenTree,
        said: &[Said],
        cancelled: &Cancelled,
    ) -> Result<(), ExportError> {
        if said.is_empty() {
            return Ok(());
        }
        let names = StatementFiles {
            prefix: self.attestation_prefix.clone(),
            infix: (self.is_index && !self.split).then(|| folder_name(&tree.platform)),
            epoch: self.epoch,
        };
        let root = tree.root.as_ref();
        tree.statements = Some(attestation::write_files(
            store, root, said, &names, cancelled,
        )?);
        Ok(())
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
        Target::RemoteDirectory(_) => "a directory of the client",
        Target::Client(_) => "a store of the client",
        Target::Stream(_) => "a file or standard output",
        Target::Receiver(_) => "an image store elsewhere",
        Target::Store => "nowhere; give it a destination (dest=)",
    };
    ExportError::Target { kind, target }
}
