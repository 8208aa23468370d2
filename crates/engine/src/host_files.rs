//! Directories in the form of containerd's `certs.d`: one folder for each registry, with a `hosts.toml` or certificates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_registry::{
    Capabilities, Capability, Certificates, EndpointScheme, HostConfig, HostEndpoint, Hosts,
    KeyPair, is_loopback,
};
use serde::Deserialize;
use toml::{Table, Value};

const FILE: &str = "hosts.toml";
/// A file of more is no configuration.
const MAX_FILE: u64 = 1 << 20;
const HUB: &str = "registry-1.docker.io";

/// Why a directory of registries cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HostFileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}; it should be a directory with one folder for each registry", path.display())]
    Read {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

/// Reads such directories. A registry that is in several of them is taken from the first.
pub fn read_host_directories(directories: &[PathBuf]) -> Result<Hosts, HostFileError> {
    let mut hosts = Hosts::new();
    for directory in directories {
        let read = |source| HostFileError::Read {
            path: directory.clone(),
            source,
        };
        for entry in std::fs::read_dir(directory).map_err(read)? {
            let folder = entry.map_err(read)?.path();
            let name = folder.file_name().and_then(|name| name.to_str());
            let Some(name) = name.filter(|_| folder.is_dir()).map(host_of) else {
                continue;
            };
            if let Some(config) = read_folder(&folder, &name)? {
                hosts.entry(name).or_insert(config);
            }
        }
    }
    Ok(hosts)
}

/// Folders may be named `host_5000_` where a colon is not possible.
fn host_of(folder: &str) -> String {
    let bare = folder
        .strip_suffix('_')
        .and_then(|rest| rest.rsplit_once('_'));
    match bare {
        Some((host, port)) if !host.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{host}:{port}")
        }
        _ => folder.to_owned(),
    }
}

fn read_folder(folder: &Path, name: &str) -> Result<Option<HostConfig>, HostFileError> {
    let path = folder.join(FILE);
    let read = |source| HostFileError::Read {
        path: path.clone(),
        source,
    };
    let text = match std::fs::metadata(&path) {
        Ok(meta) if meta.len() > MAX_FILE => Err(read(std::io::ErrorKind::FileTooLarge.into()))?,
        Ok(_) => std::fs::read_to_string(&path).map_err(read)?,
        // Docker's form: certificates alone.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Some(HostConfig {
                tls_config_dirs: vec![folder.to_owned()],
                ..HostConfig::default()
            }));
        }
        Err(error) => return Err(read(error)),
    };
    let endpoints = parse(&text, name, folder);
    let endpoints = endpoints.map_err(|message| HostFileError::Invalid {
        path: path.clone(),
        message,
    })?;
    Ok(Some(HostConfig {
        endpoints,
        ..HostConfig::default()
    }))
}

/// The places in a file's order, the server last.
fn parse(text: &str, name: &str, folder: &Path) -> Result<Vec<HostEndpoint>, String> {
    let mut file: Table = toml::from_str(text).map_err(|error| error.to_string())?;
    let hosts = match file.remove("host") {
        None => Table::new(),
        Some(Value::Table(hosts)) => hosts,
        Some(_) => return Err("host is not a table: write [host.\"https://HOST\"]".to_owned()),
    };
    let server = match file.remove("server") {
        None => None,
        Some(Value::String(server)) => Some(server),
        Some(_) => return Err("server is not a string".to_owned()),
    };
    let mut endpoints = Vec::new();
    for (url, keys) in hosts {
        let keys = Keys::deserialize(keys).map_err(|error| format!("host {url:?}: {error}"))?;
        endpoints.push(
            keys.endpoint(&url, folder)
                .map_err(|error| format!("host {url:?}: {error}"))?,
        );
    }
    let keys = Keys::deserialize(Value::Table(file)).map_err(|error| error.to_string())?;
    let server = match server {
        Some(server) => server,
        None if name == kiln_registry::DEFAULT_HOST => return Ok(endpoints),
        None => name.to_owned(),
    };
    endpoints.push(
        keys.endpoint(&server, folder)
            .map_err(|error| format!("server {server:?}: {error}"))?,
    );
    Ok(endpoints)
}

/// What can be said of a place.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Keys {
    capabilities: Option<Vec<String>>,
    ca: Texts,
    client: Option<Clients>,
    skip_verify: bool,
    header: BTreeMap<String, Texts>,
    override_path: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Default for Texts {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Texts {
    fn list(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}

/// A file with certificate and key, or several, or pairs of files.
#[derive(Deserialize)]
#[serde(untagged)]
enum Clients {
    One(String),
    Many(Vec<Texts>),
}

impl Keys {
    fn endpoint(self, url: &str, folder: &Path) -> Result<HostEndpoint, String> {
        let Address { scheme, host, path } = Address::parse(url)?;
        let path = match self.override_path {
            true => path.to_owned(),
            false if path.ends_with("/v2") => path.to_owned(),
            false => format!("{path}/v2"),
        };
        let mut headers = Vec::new();
        for (name, values) in self.header {
            for value in values.list() {
                check_header(&name, &value)?;
                headers.push((name.clone(), value));
            }
        }
        Ok(HostEndpoint {
            scheme,
            host: host.to_owned(),
            path,
            capabilities: capabilities(self.capabilities)?,
            headers,
            certificates: match self.skip_verify {
                true => Certificates::Any,
                false => Certificates::Verified,
            },
            ca: self
                .ca
                .list()
                .iter()
                .map(|file| folder.join(file))
                .collect(),
            keypairs: keypairs(self.client, folder)?,
        })
    }
}

fn capabilities(names: Option<Vec<String>>) -> Result<Capabilities, String> {
    let Some(names) = names else {
        return Ok(Capabilities::ALL);
    };
    names.iter().try_fold(Capabilities::default(), |set, name| {
        Ok(set.with(match name.as_str() {
            "pull" => Capability::Pull,
            "resolve" => Capability::Resolve,
            "push" => Capability::Push,
            other => {
                return Err(format!(
                    "unknown capability {other:?}: use pull, resolve and push"
                ));
            }
        }))
    })
}

fn keypairs(clients: Option<Clients>, folder: &Path) -> Result<Vec<KeyPair>, String> {
    let each = match clients {
        None => return Ok(Vec::new()),
        Some(Clients::One(file)) => vec![Texts::One(file)],
        Some(Clients::Many(each)) => each,
    };
    let pairs = each.into_iter().map(|files| {
        let files: Vec<_> = files
            .list()
            .into_iter()
            .filter(|file| !file.is_empty())
            .collect();
        let [certificate, key] = match files.as_slice() {
            [both] => [both, both],
            [certificate, key] => [certificate, key],
            _ => return Err("client: one file with certificate and key, or two files".to_owned()),
        };
        Ok(KeyPair {
            certificate: folder.join(certificate),
            key: folder.join(key),
        })
    });
    pairs.collect()
}

fn check_header(name: &str, value: &str) -> Result<(), String> {
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&b));
    let is_value = !value.bytes().any(|b| b < 0x20 && b != b'\t' || b == 0x7f);
    match is_name && is_value {
        true => Ok(()),
        false => Err(format!(
            "header {name:?} cannot be sent: it has characters that HTTP does not allow"
        )),
    }
}

/// A URL, taken apart.
struct Address<'a> {
    scheme: EndpointScheme,
    host: &'a str,
    /// Without a slash at its end.
    path: &'a str,
}

impl<'a> Address<'a> {
    fn parse(url: &'a str) -> Result<Self, String> {
        let (scheme, rest) = match url.split_once("://") {
            Some(("https", rest)) => (Some(EndpointScheme::Https), rest),
            Some(("http", rest)) => (Some(EndpointScheme::Http), rest),
            Some((other, _)) => return Err(format!("unknown scheme {other:?}: use https or http")),
            None => (None, url),
        };
        let end = rest.find('/').unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let host = if host == "docker.io" { HUB } else { host };
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
        if host.is_empty() || !host.chars().all(is_host) || path.contains(['?', '#']) {
            return Err("not an address: write https://HOST[:PORT][/PATH]".to_owned());
        }
        let plain = is_loopback(host);
        Ok(Self {
            scheme: scheme.unwrap_or(if plain {
                EndpointScheme::Http
            } else {
                EndpointScheme::Https
            }),
            host,
            path: path.trim_end_matches('/'),
        })
    }
}
