//! How the engine is to be opened.

use std::collections::BTreeMap;

use kiln_engine::{
    DeviceOptions, Dns, EngineOptions, ExecutorChoice, Frontends, HistoryOptions, Proxies,
    RecordedAttestations, StoreEnvironment, UnknownKeys, Upkeep,
};
use kiln_registry::{HostConfig, Hosts, KeyPair};

use super::{Environment, gc, provenance};
use crate::config::{self, Config};

/// The engine's part of the configuration.
pub(super) fn options(config: Config, environment: &Environment) -> Result<EngineOptions, String> {
    let root = match config.root {
        Some(root) if !root.as_os_str().is_empty() => {
            std::path::absolute(&root).map_err(|error| format!("{}: {error}", root.display()))?
        }
        _ => environment.root()?,
    };
    let worker = config.worker.oci;
    let gc = gc::settings(&worker, &root);
    let mut options = EngineOptions::new(root);
    options.gc = gc;
    options.upkeep = Upkeep::Always;
    options.history = history(&config.history)?;
    if let Some(binary) = worker
        .binary
        .filter(|binary| !binary.as_os_str().is_empty())
    {
        options.executor = ExecutorChoice::OciRuntime(binary);
    }
    options.max_parallelism = match worker.max_parallelism {
        None => None,
        Some(limit) => usize::try_from(limit).ok().filter(|limit| *limit > 0),
    };
    options.registry_concurrency = match config.system.max_registry_concurrency {
        None => None,
        Some(limit) => Some(
            usize::try_from(limit)
                .ok()
                .filter(|limit| *limit > 0)
                .ok_or_else(|| {
                    format!("maxRegistryConcurrency must be greater than zero; set to {limit} in the configuration file")
                })?,
        ),
    };
    if config.lenient_outputs {
        options.unknown_keys = UnknownKeys::Warn;
    }
    options.hosts = hosts(config.registry);
    let files = kiln_engine::read_host_directories(&config.registry_config_path);
    let files = files.map_err(|error| format!("registryConfigPath: {error}"))?;
    for (host, settings) in files {
        options.hosts.entry(host).or_insert(settings);
    }
    options.dns = dns(config.dns)?;
    options.devices = devices(config.cdi);
    let provenance = config.provenance_env_dir;
    let provenance = provenance.filter(|directory| !directory.as_os_str().is_empty());
    let provenance = provenance.unwrap_or_else(|| environment.provenance_directory());
    options.provenance = provenance::environment(&provenance)?;
    options.frontends = Frontends {
        dockerfile: config.frontend.dockerfile.enabled != Some(false),
        gateway: config.frontend.gateway.enabled != Some(false),
        gateway_repositories: config.frontend.gateway.allowed_repositories,
    };
    let variable = |name: &str| environment.variable(name).map(str::to_owned);
    options.proxies = Proxies::from_variables(variable);
    options.stores = StoreEnvironment::from_variables(variable);
    Ok(options)
}

fn hosts(registries: BTreeMap<String, config::Registry>) -> Hosts {
    let hosts = registries.into_iter().map(|(host, registry)| {
        let keypairs = registry.keypair.into_iter().map(|pair| KeyPair {
            certificate: pair.cert,
            key: pair.key,
        });
        let settings = HostConfig {
            mirrors: registry.mirrors,
            http: registry.http,
            insecure: registry.insecure,
            ca: registry.ca,
            keypairs: keypairs.collect(),
            tls_config_dirs: registry.tlsconfigdir,
            endpoints: Vec::new(),
        };
        (host, settings)
    });
    hosts.collect()
}

fn dns(dns: config::Dns) -> Result<Dns, String> {
    let servers = dns.nameservers.iter().map(|text| {
        text.parse()
            .map_err(|_| format!("dns.nameservers: {text:?} is not an IP address"))
    });
    Ok(Dns {
        nameservers: servers.collect::<Result<_, _>>()?,
        search: dns.search_domains,
        options: dns.options,
    })
}

fn devices(cdi: config::Cdi) -> Option<DeviceOptions> {
    if cdi.disabled == Some(true) {
        return None;
    }
    let usual = DeviceOptions::default();
    Some(DeviceOptions {
        directories: match cdi.spec_dirs.is_empty() {
            true => usual.directories,
            false => cdi.spec_dirs,
        },
        auto_allowed: cdi.auto_allowed.into_iter().collect(),
    })
}

/// Zero means the usual, as in upstream.
fn history(history: &config::History) -> Result<HistoryOptions, String> {
    let mut options = HistoryOptions {
        attestations: RecordedAttestations::Provenance,
        ..HistoryOptions::default()
    };
    if let Some(age) = history.max_age.filter(|age| !age.0.is_zero()) {
        options.max_age = age.0;
    }
    if let Some(entries) = history.max_entries.filter(|entries| *entries != 0) {
        options.max_entries = usize::try_from(entries)
            .map_err(|_| format!("history.maxEntries cannot be negative; it is {entries}"))?;
    }
    Ok(options)
}
