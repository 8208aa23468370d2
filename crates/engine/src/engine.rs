//! The engine: one store with everything that builds on it.

use std::ops::ControlFlow;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_exporter::{Exporter, ImageStore};
use kiln_registry::{Client, ClientOptions};
use kiln_remote_cache::StoreEnvironment;
use kiln_solver::{Solver, SolverOptions};
use kiln_store::gc::{PruneOptions, UsageOptions, UsageRecord};
use kiln_store::{ContentStore, Store, StoreOptions};
use tokio::sync::Semaphore;

use crate::build;
use crate::cache::{self, DatabaseKeys};
use crate::collect::{self, Collector};
use crate::devices::DeviceList;
use crate::error::{BuildError, Kind};
use crate::explain::{self, FactBook};
use crate::frontend::gateway::{Gateways, LlbBridgeService};
use crate::gc::GcPolicy;
use crate::history::History;
use crate::ops::EngineOp;
use crate::options::{EngineOptions, UnknownKeys, WorkerInfo};
use crate::plan::{self, Plan};
use crate::provenance::KnownResults;
use crate::request::{BuildOutcome, BuildRequest, Recorded};
use crate::sources::Sources;
use crate::step_runner::StepRunner;
use crate::tree::store_error;
use crate::upkeep::Caretaker;
use crate::worker::Worker;

/// A build engine. Cheap to clone; builds of all clones share their work.
#[derive(Clone)]
pub struct Engine {
    pub(crate) worker: Arc<Worker>,
    pub(crate) solver: Solver<EngineOp>,
    pub(crate) exporter: Exporter,
    pub(crate) registry: Client,
    pub(crate) registry_options: ClientOptions,
    /// What clients and frontends see this engine as.
    pub(crate) worker_info: Arc<WorkerInfo>,
    /// Builds that their clients drive.
    pub(crate) gateways: Gateways,
    /// Which requests made what, while their builds go on.
    pub(crate) results: KnownResults,
    /// What becomes of outputs' keys that do not exist.
    pub(crate) unknown_keys: UnknownKeys,
    /// What caches in buckets take from variables.
    pub(crate) stores: StoreEnvironment,
    keys: Arc<DatabaseKeys>,
    history: History,
    caretaker: Arc<Caretaker>,
}

impl Engine {
    /// Opens the engine. Must be called within a tokio runtime, on which all
    /// work will run.
    pub fn open(options: EngineOptions) -> Result<Self, BuildError> {
        let store = Store::open(StoreOptions {
            root: options.root.clone(),
        })
        .map_err(store_error)?;
        let defaults = ClientOptions::default();
        let client = ClientOptions {
            hosts: options.hosts.clone(),
            proxy: options.proxies.0.clone(),
            parallel_transfers: options
                .registry_concurrency
                .unwrap_or(defaults.parallel_transfers),
            ..defaults
        };
        let registry = Client::new(client.clone());
        let registry = registry.map_err(|error| BuildError::wrap(Kind::Environment, error))?;
        let images = options.images.as_ref().map(|images| images.open());
        let images = images.transpose();
        let images = images.map_err(|error| BuildError::wrap(Kind::Input, error))?;
        let (cache, keys) = cache::local(&store)?;
        let history = History::open(&store, options.history)?;
        let collector = Collector {
            store: store.clone(),
            keys: keys.clone(),
            gc: options.gc,
            history: history.clone(),
        };
        let caretaker = Arc::new(Caretaker::start(collector, options.upkeep));
        let worker = Worker {
            executor: StepRunner::new(options.executor, options.root.join("executor")),
            sources: Sources::new(
                &store,
                (registry.clone(), options.proxies.0.clone()),
                images.clone(),
            ),
            platform: kiln_llb::platform::host(),
            jobs: crate::jobs::Jobs::default(),
            opened: crate::ops::source::OpenedSources::default(),
            checksums: crate::checksums::ChecksumCache::default(),
            proxies: crate::step_network::StepProxies::default(),
            dns: options.dns,
            frontends: options.frontends,
            provenance: options.provenance,
            open_files: options.open_files,
            device_options: options.devices,
            caretaker: caretaker.clone(),
            parallelism: options
                .max_parallelism
                .map(|limit| Arc::new(Semaphore::new(limit))),
            store: store.clone(),
        };
        let mut exporter = Exporter::new(store, kiln_exporter::Settings::default());
        if let (Some(containerd), Some(kept)) = (images, options.images) {
            exporter = exporter.with_images(ImageStore {
                containerd,
                snapshotter: kept.snapshotter,
            });
        }
        Ok(Self {
            worker: Arc::new(worker),
            solver: Solver::new(cache, SolverOptions::default()),
            exporter,
            registry,
            registry_options: client,
            worker_info: Arc::new(WorkerInfo::unnamed()),
            gateways: Gateways::default(),
            results: KnownResults::default(),
            unknown_keys: options.unknown_keys,
            stores: options.stores,
            keys,
            history,
            caretaker,
        })
    }

    /// The same engine, which frontends and clients see as this worker.
    pub fn presented_as(mut self, worker: WorkerInfo) -> Self {
        self.worker_info = Arc::new(worker);
        self
    }

    /// Runs one build. Dropping the future stops it.
    ///
    /// Boxed, as [`Engine::plan`] is: what a build awaits is nested so deeply that the compiler would need minutes to
    /// see through all of it wherever one is begun.
    pub fn build(&self, request: BuildRequest) -> BoxFuture<'_, Result<BuildOutcome, BuildError>> {
        self.build_recorded(request).boxed()
    }

    async fn build_recorded(&self, mut request: BuildRequest) -> Result<BuildOutcome, BuildError> {
        let _running = self.caretaker.begin_build();
        let recording = self.history.begin(&mut request);
        let facts = Arc::new(FactBook::default());
        let wanted = (request.recorded == Recorded::Listed).then(|| request.options.clone());
        let outcome = build::run(self, request, &facts).await;
        let account = match wanted {
            Some(options) => explain::write(self, &facts, &options).await,
            None => None,
        };
        recording.finish(&outcome, account).await;
        outcome
    }

    /// What a build would do, found out without running a step, pulling a layer, writing an output or noting anything
    /// in the history. Manifests are read, and directories of the client are transferred, to know their checksums.
    pub fn plan(&self, request: BuildRequest) -> BoxFuture<'_, Result<Plan, BuildError>> {
        let running = self.caretaker.begin_build();
        let plan = plan::run(self, request);
        async move {
            let _running = running;
            plan.await
        }
        .boxed()
    }

    /// The history of all builds on this root.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The blobs of the store, among them those of the history.
    pub fn content(&self) -> &ContentStore {
        self.worker.store.content()
    }

    /// The service by which the client of a build with [`Frontend::Client`]
    /// drives it. The build may still have to appear: clients call both at
    /// once. `None` if it does not.
    ///
    /// [`Frontend::Client`]: crate::Frontend::Client
    pub async fn llb_bridge(&self, build: &str) -> Option<LlbBridgeService> {
        self.gateways.find(build).await
    }

    /// The CDI devices that steps can ask for.
    pub async fn devices(&self) -> Result<DeviceList, BuildError> {
        match &self.worker.device_options {
            Some(options) => Ok(options.read().await?.list()),
            None => Ok(DeviceList::default()),
        }
    }

    /// What the store holds.
    pub async fn disk_usage(&self, options: UsageOptions) -> Result<Vec<UsageRecord>, BuildError> {
        let store = self.worker.store.clone();
        blocking(move || store.disk_usage(&options).map_err(store_error)).await
    }

    /// The rules by which the engine collects garbage.
    pub fn gc_policies(&self) -> Result<Vec<GcPolicy>, BuildError> {
        self.caretaker.policies()
    }

    /// Removes what nobody uses by those rules now, and answers what that was.
    /// While builds run, the engine looks every second by itself.
    pub async fn collect_garbage(&self) -> Result<Vec<UsageRecord>, BuildError> {
        self.caretaker.collect().await
    }

    /// Removes what nobody uses, as the options say, and answers what that
    /// was.
    pub async fn prune(&self, options: PruneOptions) -> Result<Vec<UsageRecord>, BuildError> {
        self.prune_and_tell(options, |_| ControlFlow::Continue(()))
            .await
    }

    /// The same, telling of each record as it goes. Whoever is told may block,
    /// and may stop it.
    pub async fn prune_and_tell(
        &self,
        options: PruneOptions,
        mut told: impl FnMut(&UsageRecord) -> ControlFlow<()> + Send + 'static,
    ) -> Result<Vec<UsageRecord>, BuildError> {
        let (store, keys) = (self.worker.store.clone(), self.keys.clone());
        blocking(move || {
            let removed = collect::prune_and_tell(&store, &keys, &options, &mut told)?;
            store.settle();
            Ok(removed)
        })
        .await
    }
}

/// Runs work that blocks on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BuildError> + Send + 'static,
) -> Result<T, BuildError> {
    let task = tokio::task::spawn_blocking(work);
    task.await
        .map_err(|error| BuildError::wrap(Kind::Internal, error))?
}
