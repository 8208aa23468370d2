//! `buildkitd.toml`: every key BuildKit knows, read and checked. What the keys
//! mean here, and which are refused, is decided in `settings`.

mod load;
mod size;
mod span;
mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

pub use load::{ConfigError, load, parse};
pub use size::DiskSpace;
pub use span::Span;
pub use worker::{ContainerdRuntime, ContainerdWorker, GcPolicy, GcSettings, OciWorker, Workers};

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// Deprecated for `log.level`.
    pub debug: bool,
    /// Deprecated for `log.level`.
    pub trace: bool,
    /// The state directory.
    pub root: Option<PathBuf>,
    /// Privileges that builds may ask for.
    #[serde(rename = "insecure-entitlements")]
    pub insecure_entitlements: Vec<String>,
    /// Enforces a proxy for all steps.
    pub proxy_network: bool,
    /// Lets keys of outputs pass that do not exist, as BuildKit does. The key
    /// is Kiln's own.
    pub lenient_outputs: bool,
    /// Files whose content goes into provenance.
    pub provenance_env_dir: Option<PathBuf>,
    /// What is logged, and how.
    pub log: Log,
    /// Overrides for `/etc/resolv.conf` of steps.
    pub dns: Dns,
    /// Addresses to listen on.
    pub grpc: Grpc,
    /// Traces of steps.
    pub otel: Otel,
    /// Container Device Interface.
    pub cdi: Cdi,
    /// The history of builds.
    pub history: History,
    /// Workers.
    pub worker: Workers,
    /// Registries by host.
    pub registry: BTreeMap<String, Registry>,
    /// Directories in the form of containerd's `certs.d`, for registries without a table.
    pub registry_config_path: Vec<PathBuf>,
    /// Frontends.
    pub frontend: Frontends,
    /// The machine.
    pub system: System,
    /// Caches.
    pub cache: Option<toml::Table>,
    /// Signed caches on GitHub, by their documented name.
    pub ghacache: Option<toml::Table>,
}

/// `[log]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `text` or `json`.
    pub format: Option<String>,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: Option<String>,
}

/// `[dns]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Dns {
    /// Addresses of name servers.
    pub nameservers: Vec<String>,
    /// Resolver options, such as `edns0`.
    pub options: Vec<String>,
    /// Domains that short names are looked up in.
    pub search_domains: Vec<String>,
}

/// `[grpc]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Grpc {
    /// Where to listen.
    pub address: Vec<String>,
    /// Where to serve metrics.
    pub debug_address: Option<String>,
    /// Owner of unix sockets.
    pub uid: Option<u32>,
    /// Group of unix sockets.
    pub gid: Option<u32>,
    /// For Windows only.
    pub security_descriptor: Option<String>,
    /// Certificates.
    pub tls: Tls,
}

/// `[grpc.tls]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Who signs the clients' certificates.
    pub ca: Option<PathBuf>,
}

/// `[otel]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Otel {
    /// The socket that steps send traces to.
    pub socket_path: Option<PathBuf>,
}

/// `[cdi]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Cdi {
    /// Whether devices are off.
    pub disabled: Option<bool>,
    /// Where specifications of devices are.
    pub spec_dirs: Vec<PathBuf>,
    /// Devices that need no entitlement.
    pub auto_allowed: Vec<String>,
}

/// `[history]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct History {
    /// How long records are kept.
    pub max_age: Option<Span>,
    /// How many records are kept.
    pub max_entries: Option<i64>,
}

/// `[registry."host"]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registry {
    /// Tried before the registry itself.
    pub mirrors: Vec<String>,
    /// Plain HTTP.
    pub http: Option<bool>,
    /// Any certificate will do.
    pub insecure: Option<bool>,
    /// Files of certificate authorities.
    pub ca: Vec<PathBuf>,
    /// Client certificates.
    pub keypair: Vec<KeyPair>,
    /// Directories in Docker's `certs.d` form.
    pub tlsconfigdir: Vec<PathBuf>,
}

/// `[[registry."host".keypair]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPair {
    /// File of the key.
    pub key: PathBuf,
    /// File of the certificate.
    pub cert: PathBuf,
}

/// `[frontend]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Frontends {
    /// The built-in Dockerfile frontend.
    #[serde(rename = "dockerfile.v0")]
    pub dockerfile: DockerfileFrontend,
    /// Frontends that are images.
    #[serde(rename = "gateway.v0")]
    pub gateway: GatewayFrontend,
}

/// `[frontend."dockerfile.v0"]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DockerfileFrontend {
    /// Whether builds may use it.
    pub enabled: Option<bool>,
}

/// `[frontend."gateway.v0"]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct GatewayFrontend {
    /// Whether builds may use it.
    pub enabled: Option<bool>,
    /// The only repositories that frontends may come from, unless empty.
    pub allowed_repositories: Vec<String>,
}

/// `[system]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct System {
    /// How old the list of emulated platforms may be.
    pub platforms_cache_max_age: Option<Span>,
    /// Connections to one registry at the same time.
    pub max_registry_concurrency: Option<i64>,
}
