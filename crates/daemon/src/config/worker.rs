//! `[worker]`: the worker sections and their garbage collection.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::{DiskSpace, Span};

/// `[worker]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workers {
    /// The worker whose images are its own.
    pub oci: OciWorker,
    /// The worker whose images are containerd's.
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

/// `[worker.containerd]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ContainerdWorker {
    /// Unset means if its socket answers.
    pub enabled: Option<bool>,
    /// The socket.
    pub address: Option<String>,
    /// Shown to clients.
    pub labels: BTreeMap<String, String>,
    /// Platforms shown to clients.
    pub platforms: Vec<String>,
    /// The namespace of the images.
    pub namespace: Option<String>,
    /// What upstream runs steps with.
    pub runtime: ContainerdRuntime,
    /// The snapshotter that images are unpacked into.
    pub snapshotter: Option<String>,
    /// Confinement by AppArmor.
    #[serde(rename = "apparmor-profile")]
    pub apparmor_profile: Option<String>,
    /// Confinement by SELinux.
    pub selinux: bool,
    /// Steps at the same time.
    #[serde(rename = "max-parallelism")]
    pub max_parallelism: Option<i64>,
    /// The control group of steps that name none.
    pub default_cgroup_parent: Option<String>,
    /// Without privileges.
    pub rootless: bool,

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

/// `[worker.containerd.runtime]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerdRuntime {
    /// The name of a runtime of containerd.
    pub name: Option<String>,
    /// Its program.
    pub path: Option<PathBuf>,
    /// Its options.
    pub options: toml::Table,
}

impl ContainerdWorker {
    /// What of it is about steps and space: everything but images. Both workers do that in the same way here.
    pub fn without_images(&self) -> OciWorker {
        OciWorker {
            enabled: self.enabled,
            labels: self.labels.clone(),
            platforms: self.platforms.clone(),
            rootless: self.rootless.then_some(true),
            apparmor_profile: self.apparmor_profile.clone(),
            selinux: self.selinux,
            max_parallelism: self.max_parallelism,
            default_cgroup_parent: self.default_cgroup_parent.clone(),
            gc: self.gc,
            gckeepstorage: self.gckeepstorage,
            reserved_space: self.reserved_space,
            max_used_space: self.max_used_space,
            min_free_space: self.min_free_space,
            gcpolicy: self.gcpolicy.clone(),
            network_mode: self.network_mode.clone(),
            cni_config_path: self.cni_config_path.clone(),
            cni_binary_path: self.cni_binary_path.clone(),
            cni_pool_size: self.cni_pool_size,
            bridge_name: self.bridge_name.clone(),
            bridge_subnet: self.bridge_subnet.clone(),
            ..OciWorker::default()
        }
    }
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
