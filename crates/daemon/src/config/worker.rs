//! `[worker]`: the worker sections and their garbage collection.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::{DiskSpace, Span};

/// `[worker]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workers {
    /// The worker there is.
    pub oci: OciWorker,
    /// The worker that hands everything to containerd.
    pub containerd: ContainerdWorker,
}

/// `[worker.oci]`. The keys of garbage collection and of networks stand in
/// the same table in the file, so they do here.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct OciWorker {
    /// Unset means if possible.
    pub enabled: Option<bool>,
    /// Shown to clients.
    pub labels: BTreeMap<String, String>,
    /// Platforms shown to clients.
    pub platforms: Vec<String>,
    /// How layers are stacked.
    pub snapshotter: Option<String>,
    /// Without privileges.
    pub rootless: Option<bool>,
    /// Steps see the host's processes.
    pub no_process_sandbox: bool,
    /// The OCI runtime.
    pub binary: Option<PathBuf>,
    /// A snapshotter in another process.
    pub proxy_snapshotter_path: Option<PathBuf>,
    /// The control group of steps that name none.
    pub default_cgroup_parent: Option<String>,
    /// Lazy layers.
    pub stargz_snapshotter: Option<toml::Table>,
    /// Confinement by AppArmor.
    #[serde(rename = "apparmor-profile")]
    pub apparmor_profile: Option<String>,
    /// Confinement by SELinux.
    pub selinux: bool,
    /// Steps at the same time.
    #[serde(rename = "max-parallelism")]
    pub max_parallelism: Option<i64>,
    /// Never finished upstream.
    pub user_remap_unsupported: Option<String>,

    /// Garbage collection, on unless `false`.
    pub gc: Option<bool>,
    /// Deprecated for `reservedSpace`.
    #[serde(alias = "gcKeepStorage")]
    pub gckeepstorage: Option<DiskSpace>,
    /// Never go below.
    pub reserved_space: Option<DiskSpace>,
    /// Never go above.
    pub max_used_space: Option<DiskSpace>,
    /// Leave free on the disk.
    pub min_free_space: Option<DiskSpace>,
    /// The rounds of collection.
    pub gcpolicy: Vec<GcPolicy>,

    /// `auto`, `host`, `bridge` or `cni`.
    pub network_mode: Option<String>,
    /// The network's description.
    pub cni_config_path: Option<PathBuf>,
    /// Programs that set networks up.
    pub cni_binary_path: Option<PathBuf>,
    /// Networks kept ready.
    pub cni_pool_size: Option<i64>,
    /// Name of the bridge.
    pub bridge_name: Option<String>,
    /// Addresses behind the bridge.
    pub bridge_subnet: Option<String>,
}

/// `[worker.containerd]`: only whether it is wanted matters, the rest is
/// checked for spelling.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code, missing_docs)]
pub struct ContainerdWorker {
    pub enabled: Option<bool>,
    address: Option<String>,
    labels: BTreeMap<String, String>,
    platforms: Vec<String>,
    namespace: Option<String>,
    runtime: ContainerdRuntime,
    snapshotter: Option<String>,
    #[serde(rename = "apparmor-profile")]
    apparmor_profile: Option<String>,
    selinux: bool,
    #[serde(rename = "max-parallelism")]
    max_parallelism: Option<i64>,
    default_cgroup_parent: Option<String>,
    rootless: bool,
    gc: Option<bool>,
    #[serde(alias = "gcKeepStorage")]
    gckeepstorage: Option<DiskSpace>,
    reserved_space: Option<DiskSpace>,
    max_used_space: Option<DiskSpace>,
    min_free_space: Option<DiskSpace>,
    gcpolicy: Vec<GcPolicy>,
    network_mode: Option<String>,
    cni_config_path: Option<PathBuf>,
    cni_binary_path: Option<PathBuf>,
    cni_pool_size: Option<i64>,
    bridge_name: Option<String>,
    bridge_subnet: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(dead_code)]
struct ContainerdRuntime {
    name: Option<String>,
    path: Option<PathBuf>,
    options: toml::Table,
}

/// `[[worker.….gcpolicy]]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct GcPolicy {
    /// Also what is internal.
    pub all: bool,
    /// Only records that match one of these.
    pub filters: Vec<String>,
    /// Spare what was used within.
    pub keep_duration: Option<Span>,
    /// Deprecated for `reservedSpace`.
    pub keep_bytes: Option<DiskSpace>,
    /// Never go below.
    pub reserved_space: Option<DiskSpace>,
    /// Never go above.
    pub max_used_space: Option<DiskSpace>,
    /// Leave free on the disk.
    pub min_free_space: Option<DiskSpace>,
}

/// The keys of garbage collection of one worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcSettings {
    /// Never go below.
    pub reserved: Option<DiskSpace>,
    /// Never go above.
    pub max_used: Option<DiskSpace>,
    /// Leave free on the disk.
    pub min_free: Option<DiskSpace>,
}

impl OciWorker {
    /// The bounds that hold when no policy is given; `None` when the file
    /// gives none.
    pub fn gc_settings(&self) -> Option<GcSettings> {
        let settings = GcSettings {
            reserved: self.reserved_space,
            max_used: self.max_used_space,
            min_free: self.min_free_space,
        };
        let deprecated = || GcSettings {
            reserved: self.gckeepstorage,
            ..GcSettings::default()
        };
        [settings, deprecated()]
            .into_iter()
            .find(|settings| *settings != GcSettings::default())
    }
}
