//! The command line: every flag BuildKit's daemon has, by its name.

use std::path::PathBuf;

use clap::{Args, Parser};
use kiln_llb::git_url::parse_bool;

use crate::config::{Config, DiskSpace};
use crate::version;

/// Builds for clients that speak BuildKit's API.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "buildkitd", version = version::LONG, disable_help_subcommand = true)]
pub struct Arguments {
    /// Path of the configuration file [default: /etc/buildkit/buildkitd.toml, or
    /// ~/.config/buildkit/buildkitd.toml without root]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Log what is of use when something goes wrong
    #[arg(long, value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) debug: Option<bool>,
    #[arg(long, hide = true, value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) trace: Option<bool>,
    /// Path of the state directory [default: /var/lib/kiln, or ~/.local/share/kiln without root]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Listening address, unix:// or tcp:// or fd:// (may be repeated)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) addr: Vec<String>,
    /// Form of log lines: text or json
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<String>,
    /// What to log: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", env = "BUILDKITD_LOG_LEVEL")]
    pub(crate) log_level: Option<String>,
    /// Group (name or id) that owns the unix sockets
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// Address for metrics and debugging, such as 127.0.0.1:6060
    #[arg(long, value_name = "ADDRESS", env = "BUILDKITD_DEBUGADDR")]
    pub(crate) debugaddr: Option<String>,
    /// Certificate to show to clients
    #[arg(long, value_name = "FILE")]
    pub(crate) tlscert: Option<PathBuf>,
    /// Key of that certificate
    #[arg(long, value_name = "FILE")]
    pub(crate) tlskey: Option<PathBuf>,
    /// Certificate authority that signs the certificates of clients
    #[arg(long, value_name = "FILE")]
    pub(crate) tlscacert: Option<PathBuf>,
    /// Privilege that builds may ask for: network.host or security.insecure (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_insecure_entitlement: Vec<String>,
    /// How long builds may go on after a signal to stop, in seconds or like 30s
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub(crate) stop_timeout: String,
    /// Run without privileges, in a user namespace [default: as the user who starts it]
    #[arg(long, value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) rootless: Option<bool>,
    #[arg(long, hide = true, value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) proxy_network: Option<bool>,
    /// Warns of outputs' keys that do not exist, instead of refusing the build
    #[arg(long, value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) lenient_outputs: Option<bool>,
    #[arg(long, hide = true)]
    pub(crate) otel_socket_path: Option<PathBuf>,
    #[arg(long, hide = true, value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) cdi_disabled: Option<bool>,
    #[arg(long, hide = true)]
    pub(crate) cdi_spec_dir: Vec<PathBuf>,
    #[arg(long, hide = true, value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) save_cache_debug: Option<bool>,
    #[command(flatten)]
    pub(crate) oci: OciArguments,
    #[command(flatten)]
    pub(crate) containerd: ContainerdArguments,
}

/// Flags of the worker.
#[derive(Debug, Clone, Default, Args)]
pub struct OciArguments {
    #[arg(long, hide = true)]
    oci_worker: Option<String>,
    /// Label of the worker, com.example.foo=bar (may be repeated)
    #[arg(long, value_name = "LABEL")]
    oci_worker_labels: Vec<String>,
    /// How layers are stacked: auto or overlayfs
    #[arg(long, value_name = "NAME")]
    oci_worker_snapshotter: Option<String>,
    #[arg(long, hide = true)]
    oci_worker_proxy_snapshotter_path: Option<PathBuf>,
    /// Platform to announce instead of the detected ones (may be repeated)
    #[arg(long, value_name = "PLATFORM")]
    oci_worker_platform: Vec<String>,
    /// Network of steps: auto or host
    #[arg(long, value_name = "MODE")]
    oci_worker_net: Option<String>,
    #[arg(long, hide = true)]
    oci_cni_config_path: Option<PathBuf>,
    #[arg(long, hide = true)]
    oci_cni_binary_dir: Option<PathBuf>,
    #[arg(long, hide = true)]
    oci_cni_pool_size: Option<i64>,
    /// OCI runtime that runs steps, instead of the built-in executor
    #[arg(long, value_name = "PROGRAM")]
    oci_worker_binary: Option<PathBuf>,
    #[arg(long, hide = true)]
    oci_worker_apparmor_profile: Option<String>,
    #[arg(long, hide = true, value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    oci_worker_selinux: Option<bool>,
    /// How many steps may run at the same time
    #[arg(long, value_name = "N")]
    oci_max_parallelism: Option<i64>,
    #[arg(long, hide = true, value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    oci_worker_rootless: Option<bool>,
    #[arg(long, hide = true, value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    oci_worker_no_process_sandbox: Option<bool>,
    /// Collect garbage [default: true]
    #[arg(long, value_name = "BOOL", value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    oci_worker_gc: Option<bool>,
    /// Space that garbage collection keeps to, in MB: RESERVED[,FREE[,MAXIMUM]]
    #[arg(long, value_name = "AMOUNTS")]
    oci_worker_gc_keepstorage: Option<String>,
}

/// Flags of the worker that hands everything to containerd.
#[derive(Debug, Clone, Default, Args)]
pub struct ContainerdArguments {
    #[arg(long, hide = true)]
    pub(crate) containerd_worker: Option<String>,
    #[arg(long, hide = true)]
    containerd_worker_addr: Option<String>,
    #[arg(long, hide = true)]
    containerd_worker_labels: Vec<String>,
    #[arg(long, hide = true)]
    containerd_worker_platform: Vec<String>,
    #[arg(long, hide = true)]
    containerd_worker_namespace: Option<String>,
    #[arg(long, hide = true)]
    containerd_worker_runtime: Option<String>,
    #[arg(long, hide = true)]
    containerd_worker_net: Option<String>,
    #[arg(long, hide = true)]
    containerd_cni_config_path: Option<String>,
    #[arg(long, hide = true)]
    containerd_cni_binary_dir: Option<String>,
    #[arg(long, hide = true)]
    containerd_cni_pool_size: Option<String>,
    #[arg(long, hide = true)]
    containerd_worker_snapshotter: Option<String>,
    #[arg(long, hide = true)]
    containerd_worker_apparmor_profile: Option<String>,
    #[arg(long, hide = true, value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    containerd_worker_selinux: Option<bool>,
    #[arg(long, hide = true)]
    containerd_max_parallelism: Option<String>,
    #[arg(long, hide = true, value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    containerd_worker_rootless: Option<bool>,
    #[arg(long, hide = true, value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    containerd_worker_gc: Option<bool>,
    #[arg(long, hide = true)]
    containerd_worker_gc_keepstorage: Option<String>,
}

/// A flag's value in any of the forms that Go's tools take.
fn flag(text: &str) -> Result<bool, String> {
    parse_bool(text).ok_or_else(|| "write true or false".into())
}

/// `true`, `false` or `auto`, which is `None`.
fn flag_or_auto(name: &str, text: &str) -> Result<Option<bool>, String> {
    match text {
        "" | "auto" => Ok(None),
        text => flag(text)
            .map(Some)
            .map_err(|_| format!("invalid value {text:?} of {name}: write true, false or auto")),
    }
}

impl Arguments {
    /// Puts what the command line says over what the file says.
    pub(crate) fn apply(&self, config: &mut Config) -> Result<(), String> {
        let level = match (self.debug, self.trace) {
            (_, Some(true)) => Some("trace".to_owned()),
            (Some(true), _) => Some("debug".to_owned()),
            _ => None,
        };
        set(&mut config.log.level, &level);
        set(&mut config.log.level, &self.log_level);
        set(&mut config.log.format, &self.log_format);
        set(&mut config.root, &self.root);
        set_list(&mut config.grpc.address, &self.addr);
        set(&mut config.grpc.debug_address, &self.debugaddr);
        set(&mut config.grpc.tls.cert, &self.tlscert);
        set(&mut config.grpc.tls.key, &self.tlskey);
        set(&mut config.grpc.tls.ca, &self.tlscacert);
        set_list(
            &mut config.insecure_entitlements,
            &self.allow_insecure_entitlement,
        );
        config.lenient_outputs = self.lenient_outputs.unwrap_or(config.lenient_outputs);
        config.proxy_network = self.proxy_network.unwrap_or(config.proxy_network);
        set(&mut config.otel.socket_path, &self.otel_socket_path);
        set(&mut config.cdi.disabled, &self.cdi_disabled);
        set_list(&mut config.cdi.spec_dirs, &self.cdi_spec_dir);
        set(&mut config.worker.oci.rootless, &self.rootless);
        self.oci.apply(config)?;
        if let Some(text) = &self.containerd.containerd_worker {
            config.worker.containerd.enabled = flag_or_auto("--containerd-worker", text)?;
        }
        Ok(())
    }
}

impl OciArguments {
    fn apply(&self, config: &mut Config) -> Result<(), String> {
        let worker = &mut config.worker.oci;
        if let Some(text) = &self.oci_worker {
            worker.enabled = flag_or_auto("--oci-worker", text)?;
        }
        for label in &self.oci_worker_labels {
            let (key, value) = label.split_once('=').ok_or_else(|| {
                format!("invalid value {label:?} of --oci-worker-labels: write KEY=VALUE")
            })?;
            worker.labels.insert(key.into(), value.into());
        }
        set(&mut worker.snapshotter, &self.oci_worker_snapshotter);
        set(
            &mut worker.proxy_snapshotter_path,
            &self.oci_worker_proxy_snapshotter_path,
        );
        set_list(&mut worker.platforms, &self.oci_worker_platform);
        set(&mut worker.network_mode, &self.oci_worker_net);
        set(&mut worker.cni_config_path, &self.oci_cni_config_path);
        set(&mut worker.cni_binary_path, &self.oci_cni_binary_dir);
        set(&mut worker.cni_pool_size, &self.oci_cni_pool_size);
        set(&mut worker.binary, &self.oci_worker_binary);
        set(
            &mut worker.apparmor_profile,
            &self.oci_worker_apparmor_profile,
        );
        worker.selinux = self.oci_worker_selinux.unwrap_or(worker.selinux);
        set(&mut worker.max_parallelism, &self.oci_max_parallelism);
        set(&mut worker.rootless, &self.oci_worker_rootless);
        worker.no_process_sandbox = self
            .oci_worker_no_process_sandbox
            .unwrap_or(worker.no_process_sandbox);
        set(&mut worker.gc, &self.oci_worker_gc);
        if let Some(text) = &self.oci_worker_gc_keepstorage {
            let amounts = megabytes(text)?;
            let amount = |index: usize| amounts.get(index).copied();
            worker.reserved_space = amount(0);
            worker.min_free_space = amount(1);
            worker.max_used_space = amount(2);
        }
        Ok(())
    }
}

impl ContainerdArguments {
    /// The first flag that only makes sense with that worker.
    pub(crate) fn first_given(&self) -> Option<&'static str> {
        let given = [
            (
                "--containerd-worker-addr",
                self.containerd_worker_addr.is_some(),
            ),
            (
                "--containerd-worker-labels",
                !self.containerd_worker_labels.is_empty(),
            ),
            (
                "--containerd-worker-platform",
                !self.containerd_worker_platform.is_empty(),
            ),
            (
                "--containerd-worker-namespace",
                self.containerd_worker_namespace.is_some(),
            ),
            (
                "--containerd-worker-runtime",
                self.containerd_worker_runtime.is_some(),
            ),
            (
                "--containerd-worker-net",
                self.containerd_worker_net.is_some(),
            ),
            (
                "--containerd-cni-config-path",
                self.containerd_cni_config_path.is_some(),
            ),
            (
                "--containerd-cni-binary-dir",
                self.containerd_cni_binary_dir.is_some(),
            ),
            (
                "--containerd-cni-pool-size",
                self.containerd_cni_pool_size.is_some(),
            ),
            (
                "--containerd-worker-snapshotter",
                self.containerd_worker_snapshotter.is_some(),
            ),
            (
                "--containerd-worker-apparmor-profile",
                self.containerd_worker_apparmor_profile.is_some(),
            ),
            (
                "--containerd-worker-selinux",
                self.containerd_worker_selinux.is_some(),
            ),
            (
                "--containerd-max-parallelism",
                self.containerd_max_parallelism.is_some(),
            ),
            (
                "--containerd-worker-rootless",
                self.containerd_worker_rootless.is_some(),
            ),
            (
                "--containerd-worker-gc",
                self.containerd_worker_gc.is_some(),
            ),
            (
                "--containerd-worker-gc-keepstorage",
                self.containerd_worker_gc_keepstorage.is_some(),
            ),
        ];
        given
            .into_iter()
            .find_map(|(name, is_given)| is_given.then_some(name))
    }
}

fn set<T: Clone>(place: &mut Option<T>, given: &Option<T>) {
    if given.is_some() {
        place.clone_from(given);
    }
}

fn set_list<T: Clone>(place: &mut Vec<T>, given: &[T]) {
    if !given.is_empty() {
        *place = given.to_vec();
    }
}

/// Up to three amounts in megabytes, which here are millions of bytes.
fn megabytes(text: &str) -> Result<Vec<DiskSpace>, String> {
    let amounts = text.splitn(3, ',').map(|part| {
        let bytes = part
            .parse::<u64>()
            .ok()
            .and_then(|megabytes| megabytes.checked_mul(1_000_000));
        bytes.map(DiskSpace::Bytes)
    });
    amounts.collect::<Option<Vec<_>>>().ok_or_else(|| {
        format!(
            "invalid value {text:?} of --oci-worker-gc-keepstorage: \
             write megabytes as RESERVED[,FREE[,MAXIMUM]]"
        )
    })
}
