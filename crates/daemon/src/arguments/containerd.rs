//! Flags of the worker whose images are containerd's.

use std::path::PathBuf;

use clap::Args;

use super::{flag, flag_or_auto, megabytes, pairs, set, set_list};
use crate::config::{ContainerdRuntime, ContainerdWorker};

/// Flags of the worker whose images are containerd's.
#[derive(Debug, Clone, Default, Args)]
pub struct ContainerdArguments {
    /// Keep images in containerd, with --oci-worker=false: true, false or auto
    #[arg(long, value_name = "CHOICE")]
    containerd_worker: Option<String>,
    /// Socket of containerd [default: /run/containerd/containerd.sock]
    #[arg(long, value_name = "SOCKET")]
    containerd_worker_addr: Option<String>,
    /// Label of the worker, com.example.foo=bar (may be repeated)
    #[arg(long, value_name = "LABEL")]
    containerd_worker_labels: Vec<String>,
    /// Platform to announce instead of the detected ones (may be repeated)
    #[arg(long, value_name = "PLATFORM")]
    containerd_worker_platform: Vec<String>,
    /// Namespace of the images in containerd [default: buildkit]
    #[arg(long, value_name = "NAME")]
    containerd_worker_namespace: Option<String>,
    #[arg(long, hide = true)]
    containerd_worker_runtime: Option<String>,
    /// Network of steps: auto or host
    #[arg(long, value_name = "MODE")]
    containerd_worker_net: Option<String>,
    #[arg(long, hide = true)]
    containerd_cni_config_path: Option<PathBuf>,
    #[arg(long, hide = true)]
    containerd_cni_binary_dir: Option<PathBuf>,
    #[arg(long, hide = true)]
    containerd_cni_pool_size: Option<i64>,
    /// Snapshotter of containerd that images are unpacked into [default: overlayfs]
    #[arg(long, value_name = "NAME")]
    containerd_worker_snapshotter: Option<String>,
    #[arg(long, hide = true)]
    containerd_worker_apparmor_profile: Option<String>,
    #[arg(long, hide = true, value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    containerd_worker_selinux: Option<bool>,
    /// How many steps may run at the same time
    #[arg(long, value_name = "N")]
    containerd_max_parallelism: Option<i64>,
    #[arg(long, hide = true, value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    containerd_worker_rootless: Option<bool>,
    /// Collect garbage [default: true]
    #[arg(long, value_name = "BOOL", value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    containerd_worker_gc: Option<bool>,
    /// Space that garbage collection keeps to, in MB: RESERVED[,FREE[,MAXIMUM]]
    #[arg(long, value_name = "AMOUNTS")]
    containerd_worker_gc_keepstorage: Option<String>,
}

impl ContainerdArguments {
    pub(super) fn apply(&self, worker: &mut ContainerdWorker) -> Result<(), String> {
        if let Some(text) = &self.containerd_worker {
            worker.enabled = flag_or_auto("--containerd-worker", text)?;
        }
        let labels = pairs("--containerd-worker-labels", &self.containerd_worker_labels)?;
        worker.labels.extend(labels);
        set(&mut worker.address, &self.containerd_worker_addr);
        set_list(&mut worker.platforms, &self.containerd_worker_platform);
        set(&mut worker.namespace, &self.containerd_worker_namespace);
        if self.containerd_worker_runtime.is_some() {
            worker.runtime = ContainerdRuntime {
                name: self.containerd_worker_runtime.clone(),
                ..ContainerdRuntime::default()
            };
        }
        set(&mut worker.network_mode, &self.containerd_worker_net);
        set(
            &mut worker.cni_config_path,
            &self.containerd_cni_config_path,
        );
        set(&mut worker.cni_binary_path, &self.containerd_cni_binary_dir);
        set(&mut worker.cni_pool_size, &self.containerd_cni_pool_size);
        set(&mut worker.snapshotter, &self.containerd_worker_snapshotter);
        set(
            &mut worker.apparmor_profile,
            &self.containerd_worker_apparmor_profile,
        );
        worker.selinux = self.containerd_worker_selinux.unwrap_or(worker.selinux);
        set(
            &mut worker.max_parallelism,
            &self.containerd_max_parallelism,
        );
        worker.rootless = self.containerd_worker_rootless.unwrap_or(worker.rootless);
        set(&mut worker.gc, &self.containerd_worker_gc);
        if let Some(text) = &self.containerd_worker_gc_keepstorage {
            let amounts = megabytes("--containerd-worker-gc-keepstorage", text)?;
            [
                worker.reserved_space,
                worker.min_free_space,
                worker.max_used_space,
            ] = amounts;
        }
        Ok(())
    }
}
