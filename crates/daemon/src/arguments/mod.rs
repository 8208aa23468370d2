//! The command line: every flag BuildKit's daemon has, by its name.

mod containerd;

use std::path::PathBuf;

use clap::{Args, Parser};
use kiln_llb::git_url::parse_bool;

use crate::config::{Config, DiskSpace};
use crate::version;

pub use containerd::ContainerdArguments;

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

/// Flags of the worker whose images are its own.
#[derive(Debug, Clone, Default, Args)]
pub struct OciArguments {
    /// Build with this worker: true, false or auto
    #[arg(long, value_name = "CHOICE")]
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
        self.containerd.apply(&mut config.worker.containerd)
    }
}

impl OciArguments {
    fn apply(&self, config: &mut Config) -> Result<(), String> {
        let worker = &mut config.worker.oci;
        if let Some(text) = &self.oci_worker {
            worker.enabled = flag_or_auto("--oci-worker", text)?;
        }
        let labels = pairs("--oci-worker-labels", &self.oci_worker_labels)?;
        worker.labels.extend(labels);
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
            let [reserved, free, maximum] = megabytes("--oci-worker-gc-keepstorage", text)?;
            worker.reserved_space = reserved;
            worker.min_free_space = free;
            worker.max_used_space = maximum;
        }
        Ok(())
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

/// Labels, each as `KEY=VALUE`.
fn pairs(flag: &str, given: &[String]) -> Result<Vec<(String, String)>, String> {
    let pairs = given.iter().map(|pair| {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("invalid value {pair:?} of {flag}: write KEY=VALUE"))?;
        Ok((key.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

/// Up to three amounts in megabytes, which here are millions of bytes: reserved, free, maximum.
fn megabytes(flag: &str, text: &str) -> Result<[Option<DiskSpace>; 3], String> {
    let mut amounts = [None; 3];
    for (place, part) in amounts.iter_mut().zip(text.splitn(3, ',')) {
        let bytes = part
            .parse::<u64>()
            .ok()
            .and_then(|megabytes| megabytes.checked_mul(1_000_000));
        let bytes = bytes.ok_or_else(|| {
            format!(
                "invalid value {text:?} of {flag}: write megabytes as RESERVED[,FREE[,MAXIMUM]]"
            )
        })?;
        *place = Some(DiskSpace::Bytes(bytes));
    }
    Ok(amounts)
}
