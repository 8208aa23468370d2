//! How each registry is reached: mirrors, plain HTTP, certificates. Plain data,
//! the `[registry."host"]` tables of `buildkitd.toml` one to one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// The settings of every registry that has any, by the name used in references
/// (`docker.io`, `localhost:5000`). Mirrors are looked up here under their own host.
pub type Hosts = BTreeMap<String, HostConfig>;

/// The settings of one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// Tried in order before the registry itself, for pulls only: `host`,
    /// `host/path/prefix`, or either with a scheme in front.
    pub mirrors: Vec<String>,
    /// Use plain HTTP. Unset means: only for loopback addresses.
    pub http: Option<bool>,
    /// Accept any certificate; together with `http`, fall back to plain HTTP.
    pub insecure: Option<bool>,
    /// PEM files of certificate authorities to trust besides the system's.
    pub ca: Vec<PathBuf>,
    /// Client certificates.
    pub keypairs: Vec<KeyPair>,
    /// Directories in Docker's `certs.d` form: `*.crt`, `*.cert` with `*.key`.
    pub tls_config_dirs: Vec<PathBuf>,
}

/// A client certificate and its key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyPair {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Whether `host[:port]` is this machine, where plain HTTP is the default.
pub fn is_loopback(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None if host.parse::<IpAddr>().is_ok() => host,
        None => host.split(':').next().unwrap_or_default(),
    };
    bare == "localhost"
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
