//! What ops work with: storage, sources and the executor of this machine.

use std::sync::Arc;

use kiln_executor::Dns;
use kiln_llb::platform;
use kiln_store::Store;
use oci_spec::image::Platform;
use tokio::sync::Semaphore;

use crate::checksums::ChecksumCache;
use crate::devices::{DeviceOptions, Devices};
use crate::error::BuildError;
use crate::jobs::Jobs;
use crate::open_files::OpenFiles;
use crate::ops::source::OpenedSources;
use crate::options::Frontends;
use crate::provenance::ProvenanceEnvironment;
use crate::sources::Sources;
use crate::step_network::StepProxies;
use crate::step_runner::StepRunner;
use crate::upkeep::Caretaker;

/// Everything an op may touch.
pub(crate) struct Worker {
    /// Local storage.
    pub(crate) store: Store,
    /// Runs processes.
    pub(crate) executor: StepRunner,
    /// Where trees come from.
    pub(crate) sources: Sources,
    /// The platform that steps run on unless they say otherwise.
    pub(crate) platform: Platform,
    /// Builds in flight, for their sessions and progress.
    pub(crate) jobs: Jobs,
    /// What provenance says of this machine.
    pub(crate) provenance: ProvenanceEnvironment,
    /// Sources that live vertices have opened.
    pub(crate) opened: OpenedSources,
    /// Content checksums of refs.
    pub(crate) checksums: ChecksumCache,
    /// What steps have in place of a network, if builds want that.
    pub(crate) proxies: StepProxies,
    /// Overrides for name resolution in steps.
    pub(crate) dns: Dns,
    /// Which frontends builds may use.
    pub(crate) frontends: Frontends,
    /// Where devices are described; `None` switches them off.
    pub(crate) device_options: Option<DeviceOptions>,
    /// How many files steps may open unless they ask for another limit.
    pub(crate) open_files: Option<OpenFiles>,
    /// Makes room before something is written.
    pub(crate) caretaker: Arc<Caretaker>,
    /// How many steps may run at once; `None` means as many as there are.
    pub(crate) parallelism: Option<Arc<Semaphore>>,
}

impl Worker {
    /// The devices that there are at this moment.
    pub(crate) async fn devices(&self) -> Result<Devices, BuildError> {
        match &self.device_options {
            Some(options) => options.read().await,
            None => Ok(Devices::switched_off()),
        }
    }

    /// The platform of an op in normal form, the worker's own where it names none.
    pub(crate) fn platform_of(&self, op: &kiln_llb::pb::Op) -> Platform {
        match &op.platform {
            Some(wire) => platform::normalize(&platform::from_pb(wire)),
            None => self.platform.clone(),
        }
    }
}
