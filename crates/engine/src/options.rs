//! How to open an engine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kiln_containerd::{Address, Containerd, ContainerdError};
use kiln_executor::Dns;
use kiln_registry::{Hosts, ProxySettings};
use kiln_remote_cache::StoreEnvironment;
use kiln_session::SessionId;

use crate::devices::DeviceOptions;
use crate::gc::{GcSettings, Upkeep};
use crate::history::HistoryOptions;
use crate::open_files::OpenFiles;
use crate::provenance::ProvenanceEnvironment;

/// How to open an engine. Start from [`EngineOptions::new`].
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The directory that holds all state. Several engines, also in other
    /// processes, may share it.
    pub root: PathBuf,
    /// What runs steps.
    pub executor: ExecutorChoice,
    /// How many steps may run at once; `None` means as many as there are.
    pub max_parallelism: Option<usize>,
    /// Settings by registry.
    pub hosts: Hosts,
    /// Proxies on the way to registries.
    pub proxies: Proxies,
    /// The containerd that keeps images in place of the store.
    pub images: Option<ContainerdImages>,
    /// What is removed without anybody asking.
    pub gc: GcSettings,
    /// When the engine looks after its store.
    pub upkeep: Upkeep,
    /// How the history of builds is kept.
    pub history: HistoryOptions,
    /// Transfers from or to one registry at the same time; `None` means the
    /// usual number.
    pub registry_concurrency: Option<usize>,
    /// Overrides for `/etc/resolv.conf` of steps.
    pub dns: Dns,
    /// Which frontends builds may use.
    pub frontends: Frontends,
    /// What provenance says of this machine.
    pub provenance: ProvenanceEnvironment,
    /// Where CDI devices are described; `None` switches them off.
    pub devices: Option<DeviceOptions>,
    /// How many files steps may open unless they ask for another limit; the
    /// engine's own limit if absent.
    pub open_files: Option<OpenFiles>,
    /// What becomes of outputs' keys that do not exist.
    pub unknown_keys: UnknownKeys,
    /// What caches in buckets take from variables: defaults and credentials.
    pub stores: StoreEnvironment,
}

/// What becomes of keys of an output that do not exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnknownKeys {
    /// They fail the build before it begins.
    #[default]
    Refuse,
    /// They are warned of.
    Warn,
}

impl EngineOptions {
    /// The defaults, with state in `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            executor: ExecutorChoice::Native,
            max_parallelism: None,
            hosts: Hosts::new(),
            proxies: Proxies::default(),
            images: None,
            gc: GcSettings::default(),
            upkeep: Upkeep::default(),
            history: HistoryOptions::default(),
            registry_concurrency: None,
            dns: Dns::default(),
            frontends: Frontends::default(),
            provenance: ProvenanceEnvironment::default(),
            devices: Some(DeviceOptions::default()),
            open_files: None,
            unknown_keys: UnknownKeys::default(),
            stores: StoreEnvironment::default(),
        }
    }
}

/// A containerd that keeps images: exports put them there, and builds may be based on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerdImages {
    /// Where it listens.
    pub address: Address,
    /// The images' namespace.
    pub namespace: String,
    /// The snapshotter that images are unpacked into.
    pub snapshotter: String,
}

impl ContainerdImages {
    /// The namespace itself; nothing is asked of it yet. Must be called within a tokio runtime.
    pub fn open(&self) -> Result<Containerd, ContainerdError> {
        let containerd = Containerd::new(&self.address, &self.namespace)?;
        containerd.snapshotter(&self.snapshotter)?;
        Ok(containerd)
    }
}

/// What an engine calls itself: frontends and clients see it as a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerInfo {
    /// Tells workers apart.
    pub id: String,
    /// Facts about it.
    pub labels: BTreeMap<String, String>,
}

/// What runs steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecutorChoice {
    /// The executor built into the engine.
    Native,
    /// An OCI runtime such as runc or crun: a path, or a name looked up in
    /// `PATH`.
    OciRuntime(PathBuf),
}

/// Which frontends builds may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontends {
    /// The built-in Dockerfile frontend.
    pub dockerfile: bool,
    /// Frontends that are images.
    pub gateway: bool,
    /// The only repositories that such images may come from, unless empty.
    pub gateway_repositories: Vec<String>,
}

impl Default for Frontends {
    fn default() -> Self {
        Self {
            dockerfile: true,
            gateway: true,
            gateway_repositories: Vec::new(),
        }
    }
}

/// Proxies on the way to registries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(pub(crate) ProxySettings);

impl Proxies {
    /// Reads the usual variables (`HTTP_PROXY`, `https_proxy`, …), which the
    /// caller looks up: the engine itself never reads the environment.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        Self(ProxySettings::from_variables(variable))
    }
}

impl WorkerInfo {
    /// One that nobody has named.
    pub(crate) fn unnamed() -> Self {
        Self {
            id: SessionId::random().as_str().to_owned(),
            labels: BTreeMap::new(),
        }
    }
}
