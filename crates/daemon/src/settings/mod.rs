//! What the daemon is to do: command line over configuration file over
//! defaults, checked and resolved into plain data.

mod address;
mod containerd;
mod engine;
mod environment;
mod gc;
mod provenance;
mod refused;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_engine::{DeviceGrant, EngineOptions, Entitlement, StepNetwork};

pub use address::Address;
pub use containerd::{ContainerdSettings, Presence};
pub use environment::Environment;

use crate::arguments::Arguments;
use crate::config::{self, Config, ConfigError, Span};

/// Why the daemon cannot run as asked.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A value makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A feature that is not there.
    #[error("{what} is not supported: {instead}")]
    Refused {
        /// Key and flag.
        what: String,
        /// What to do.
        instead: String,
    },
}

/// Everything the daemon is to do.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is logged.
    pub log: LogSettings,
    /// Where to listen.
    pub addresses: Vec<Address>,
    /// Who may use unix sockets.
    pub owner: SocketOwner,
    /// Certificates for listeners on networks.
    pub tls: Option<TlsFiles>,
    /// Where to serve metrics.
    pub debug_address: Option<Address>,
    /// How to open the engine.
    pub engine: EngineOptions,
    /// Labels of the worker beside those it has anyway.
    pub labels: BTreeMap<String, String>,
    /// Platforms to announce instead of the detected ones.
    pub platforms: Vec<kiln_llb::pb::Platform>,
    /// The containerd worker, unless it is switched off. Builds use it if the engine keeps images there.
    pub containerd: Option<ContainerdSettings>,
    /// Privileges that builds may ask for.
    pub allowed: BTreeSet<Entitlement>,
    /// How steps reach the network.
    pub network: StepNetwork,
    /// How long builds may go on after a signal to stop.
    pub stop_timeout: Duration,
    /// Whether to run without privileges; `None` as the user who starts it.
    pub rootless: Option<bool>,
    /// What to tell the operator once logs are set up.
    pub warnings: Vec<String>,
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// The least important level that is logged.
    pub level: tracing::Level,
    /// The form of lines.
    pub format: LogFormat,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Who owns unix sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketOwner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// The files of a TLS listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate to show.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who signs the certificates that clients must show; `None` asks for none.
    pub client_ca: Option<PathBuf>,
}

impl Settings {
    /// Reads the configuration file that applies, and resolves everything.
    pub fn load(arguments: &Arguments, environment: &Environment) -> Result<Self, SettingsError> {
        let path = match &arguments.config {
            Some(path) => path.clone(),
            None => environment.config_file(),
        };
        Self::resolve(arguments, config::load(&path)?, environment)
    }

    /// Resolves a configuration that was read already.
    pub fn resolve(
        arguments: &Arguments,
        mut config: Config,
        environment: &Environment,
    ) -> Result<Self, SettingsError> {
        arguments
            .apply(&mut config)
            .map_err(SettingsError::Invalid)?;
        refused::check(arguments, &config)?;
        let mut warnings = Vec::new();
        let invalid = SettingsError::Invalid;
        let containerd = containerd::settings(&config, &mut warnings)?;
        let images = containerd::of_builds(&mut config, containerd.as_ref());
        let platforms = platforms(&config.worker.oci.platforms)?;
        Ok(Self {
            log: log(&config, &mut warnings)?,
            addresses: addresses(&config, environment)?,
            owner: owner(arguments, &config, environment)?,
            tls: tls(&config)?,
            debug_address: debug_address(&config)?,
            labels: config.worker.oci.labels.clone(),
            platforms,
            containerd,
            allowed: allowed(&config)?,
            network: match config.proxy_network {
                true => StepNetwork::Proxied,
                false => StepNetwork::Direct,
            },
            stop_timeout: arguments
                .stop_timeout
                .parse::<Span>()
                .map_err(|error| SettingsError::Invalid(format!("--stop-timeout: {error}")))?
                .0,
            rootless: config.worker.oci.rootless,
            engine: EngineOptions {
                images,
                ..engine::options(config, environment).map_err(invalid)?
            },
            warnings,
        })
    }
}

fn log(config: &Config, warnings: &mut Vec<String>) -> Result<LogSettings, SettingsError> {
    let deprecated = [("trace", config.trace), ("debug", config.debug)];
    let deprecated = deprecated.into_iter().find(|(_, is_set)| *is_set);
    if let Some((name, _)) = deprecated {
        warnings.push(format!(
            "configuration key {name:?} is deprecated: write level = {name:?} under [log]"
        ));
    }
    let level = config
        .log
        .level
        .as_deref()
        .filter(|level| !level.is_empty());
    let level = level.or(deprecated.map(|(name, _)| name)).unwrap_or("info");
    let level = match level {
        "trace" => tracing::Level::TRACE,
        "debug" => tracing::Level::DEBUG,
        "info" => tracing::Level::INFO,
        "warn" | "warning" => tracing::Level::WARN,
        "error" | "fatal" | "panic" => tracing::Level::ERROR,
        other => {
            return Err(SettingsError::Invalid(format!(
                "unsupported log level {other:?}: use error, warn, info, debug or trace"
            )));
        }
    };
    let format = match config.log.format.as_deref() {
        None | Some("" | "text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => {
            return Err(SettingsError::Invalid(format!(
                "unsupported log type {other:?}: use text or json"
            )));
        }
    };
    Ok(LogSettings { level, format })
}

fn addresses(config: &Config, environment: &Environment) -> Result<Vec<Address>, SettingsError> {
    let given = &config.grpc.address;
    if given.is_empty() {
        let default = environment.address().parse();
        return default
            .map(|address| vec![address])
            .map_err(SettingsError::Invalid);
    }
    let parsed = given.iter().map(|text| text.parse());
    parsed
        .collect::<Result<_, _>>()
        .map_err(SettingsError::Invalid)
}

/// Upstream takes an address without scheme for TCP here.
fn debug_address(config: &Config) -> Result<Option<Address>, SettingsError> {
    let Some(text) = config
        .grpc
        .debug_address
        .as_deref()
        .filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    let address = match text.contains("://") {
        true => text.parse(),
        false => format!("tcp://{text}").parse(),
    };
    address.map(Some).map_err(SettingsError::Invalid)
}

fn owner(
    arguments: &Arguments,
    config: &Config,
    environment: &Environment,
) -> Result<SocketOwner, SettingsError> {
    let gid = match arguments.group.as_deref().filter(|group| !group.is_empty()) {
        Some(group) => group_id(group)?,
        None => config.grpc.gid.unwrap_or(environment.gid),
    };
    Ok(SocketOwner {
        uid: config.grpc.uid.unwrap_or(environment.uid),
        gid,
    })
}

/// The id of a group of this machine.
fn group_id(group: &str) -> Result<u32, SettingsError> {
    let unknown = |reason: String| SettingsError::Invalid(format!("--group {group}: {reason}"));
    let root =
        kiln_store::tree::Root::open(Path::new("/")).map_err(|error| unknown(error.to_string()))?;
    let identity = kiln_store::user::identity(&root, &format!("0:{group}"));
    identity
        .map(|identity| identity.gid)
        .map_err(|error| unknown(error.to_string()))
}

fn tls(config: &Config) -> Result<Option<TlsFiles>, SettingsError> {
    let file = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
    let tls = &config.grpc.tls;
    match (file(&tls.cert), file(&tls.key)) {
        (None, None) => match file(&tls.ca) {
            None => Ok(None),
            Some(_) => Err(SettingsError::Invalid(
                "grpc.tls.ca (--tlscacert) is given without certificate: \
                 clients cannot be checked without --tlscert and --tlskey"
                    .into(),
            )),
        },
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles {
            certificate,
            key,
            client_ca: file(&tls.ca),
        })),
        _ => Err(SettingsError::Invalid(
            "you must specify key and cert file if one is specified (--tlscert, --tlskey)".into(),
        )),
    }
}

fn platforms(names: &[String]) -> Result<Vec<kiln_llb::pb::Platform>, SettingsError> {
    let parsed = names.iter().map(|text| {
        let platform = kiln_llb::platform::parse(text);
        let platform = platform
            .map_err(|error| SettingsError::Invalid(format!("invalid platforms: {error}")))?;
        Ok(kiln_llb::platform::to_pb(&kiln_llb::platform::normalize(
            &platform,
        )))
    });
    parsed.collect()
}

fn allowed(config: &Config) -> Result<BTreeSet<Entitlement>, SettingsError> {
    let names = config.insecure_entitlements.iter();
    // Where devices are switched off, there are none to be allowed, else they always are: builds
    // still need their user's word.
    let names = names.filter(|name| *name != "device");
    let parsed = names.map(|name| name.parse::<Entitlement>().map_err(SettingsError::Invalid));
    let devices = Entitlement::Device(DeviceGrant::All);
    let devices = (config.cdi.disabled != Some(true)).then_some(devices);
    parsed.chain(devices.map(Ok)).collect()
}
