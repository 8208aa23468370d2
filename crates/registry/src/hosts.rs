//! How each registry is reached: mirrors, plain HTTP, certificates. Plain data: the
//! `[registry."host"]` tables of `buildkitd.toml` one to one, and what stands in
//! containerd's `hosts.toml` files.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// The settings of every registry that has any, by the name used in references
/// (`docker.io`, `localhost:5000`). Mirrors are looked up here under their own host.
pub type Hosts = BTreeMap<String, HostConfig>;

/// The name whose [`HostConfig::endpoints`] serve registries without settings of their own.
pub const DEFAULT_HOST: &str = "_default";

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
    /// Where the registry is reached, in order, whatever the fields above say. The registry
    /// itself is asked only if it is among them.
    pub endpoints: Vec<HostEndpoint>,
}

/// A client certificate and its key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyPair {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// The private key; it may be in the same file.
    pub key: PathBuf,
}

/// One place of a `hosts.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEndpoint {
    /// Whether it speaks TLS.
    pub scheme: EndpointScheme,
    /// `host[:port]`.
    pub host: String,
    /// The path that repositories are below of, such as `/v2`; no slash at its end.
    pub path: String,
    /// What it is asked for.
    pub capabilities: Capabilities,
    /// Headers to send.
    pub headers: Vec<(String, String)>,
    /// Which certificates are good.
    pub certificates: Certificates,
    /// PEM files of certificate authorities to trust besides the system's.
    pub ca: Vec<PathBuf>,
    /// Client certificates.
    pub keypairs: Vec<KeyPair>,
}

/// Whether an endpoint speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointScheme {
    /// It does.
    Https,
    /// It does not.
    Http,
}

/// Which certificates of an endpoint are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificates {
    /// Those of authorities that are trusted.
    Verified,
    /// Any (`skip_verify`).
    Any,
}

/// What a place is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// From tags to digests.
    Resolve,
    /// Manifests and blobs.
    Pull,
    /// Pushes.
    Push,
}

/// A set of [`Capability`]s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(u8);

impl Capabilities {
    /// What registries can do.
    pub const ALL: Self = Self(0b111);
    /// What mirrors can do.
    pub(crate) const READ: Self = Self(0b011);

    /// The set with one more.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability as u8)
    }

    /// Whether it is in the set.
    pub fn has(self, capability: Capability) -> bool {
        self.0 & 1 << capability as u8 != 0
    }
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
