//! One place a repository can be reached at: the registry itself or a mirror of it.

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::error::RegistryError;
use crate::hosts::{
    Capabilities, DEFAULT_HOST, EndpointScheme, HostConfig, HostEndpoint, Hosts, is_loopback,
};
use crate::reference::Reference;
use crate::tls::TlsSettings;

/// Where Docker Hub really is.
const HUB: &str = "registry-1.docker.io";

/// How to speak to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Https,
    Http,
    /// HTTPS, and plain HTTP if the other side turns out not to speak it.
    HttpsThenHttp,
}

/// The base URL of a repository at one host.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// Host and port as they are in URLs.
    pub(crate) host: String,
    /// The name credentials are kept under: the host, or `docker.io`.
    pub(crate) account: String,
    pub(crate) scheme: Scheme,
    pub(crate) capabilities: Capabilities,
    pub(crate) tls: TlsSettings,
    /// Sent with every request to this host.
    pub(crate) headers: HeaderMap,
    /// `/v2` and a mirror's prefix, without the repository.
    base: String,
    repository: String,
    /// Tells a mirror which registry it stands for.
    namespace: Option<String>,
}

/// What distinguishes one endpoint of a repository from another.
struct Place<'a> {
    host: &'a str,
    base: String,
    capabilities: Capabilities,
    scheme: Scheme,
    tls: TlsSettings,
    headers: HeaderMap,
}

impl Endpoint {
    /// Mirrors in their order, then the registry itself.
    pub(crate) fn all(reference: &Reference, hosts: &Hosts) -> Vec<Self> {
        let domain = reference.domain();
        let config = hosts.get(domain);
        let host = if domain == "docker.io" { HUB } else { domain };
        let own = config.or_else(|| hosts.get(host));
        let listed = own.or_else(|| hosts.get(DEFAULT_HOST));
        let listed = listed.map(|config| config.endpoints.as_slice());
        if let Some(listed) = listed.filter(|listed| !listed.is_empty()) {
            let places = listed.iter().map(Place::listed);
            return places.map(|place| Self::new(place, reference)).collect();
        }
        let mirrors = config.map_or(&[][..], |config| &config.mirrors);
        let mirrors = mirrors.iter().map(|mirror| Place::mirror(mirror, hosts));
        let registry = Place::configured(host, "/v2".to_owned(), Capabilities::ALL, own);
        let places = mirrors.chain([registry]);
        places.map(|place| Self::new(place, reference)).collect()
    }

    fn new(place: Place<'_>, reference: &Reference) -> Self {
        let host = place.host;
        let is_itself =
            host == reference.domain() || (reference.domain() == "docker.io" && host == HUB);
        Self {
            host: host.to_owned(),
            account: if host == HUB { "docker.io" } else { host }.to_owned(),
            scheme: place.scheme,
            capabilities: place.capabilities,
            tls: place.tls,
            headers: place.headers,
            base: place.base,
            repository: reference.path().to_owned(),
            namespace: (!is_itself).then(|| reference.domain().to_owned()),
        }
    }

    /// The URL of something inside the repository, such as `manifests/latest`.
    pub(crate) fn url(&self, path: &str, query: &[(&str, &str)]) -> Result<Url, RegistryError> {
        let scheme = if self.scheme == Scheme::Http {
            "http"
        } else {
            "https"
        };
        let text = format!(
            "{scheme}://{}{}/{}/{path}",
            self.host, self.base, self.repository
        );
        let mut url = Url::parse(&text).map_err(|error| {
            RegistryError::Setup(format!("invalid registry address {text:?}: {error}"))
        })?;
        self.append(&mut url, query);
        Ok(url)
    }

    /// Adds query parameters, and the namespace where this is a mirror.
    pub(crate) fn append(&self, url: &mut Url, query: &[(&str, &str)]) {
        if query.is_empty() && self.namespace.is_none() {
            return;
        }
        let mut pairs = url.query_pairs_mut();
        pairs.extend_pairs(query);
        if let Some(namespace) = &self.namespace {
            pairs.append_pair("ns", namespace);
        }
    }
}

impl<'a> Place<'a> {
    fn mirror(text: &'a str, hosts: &Hosts) -> Self {
        let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (host, prefix) = bare.split_once('/').unwrap_or((bare, ""));
        let prefix = prefix.trim_matches('/');
        let base = if prefix.is_empty() {
            "/v2".to_owned()
        } else {
            format!("/v2/{prefix}")
        };
        Self::configured(host, base, Capabilities::READ, hosts.get(host))
    }

    fn configured(
        host: &'a str,
        base: String,
        capabilities: Capabilities,
        config: Option<&HostConfig>,
    ) -> Self {
        let plain = config
            .and_then(|config| config.http)
            .unwrap_or_else(|| is_loopback(host));
        let insecure = config.and_then(|config| config.insecure).unwrap_or(false);
        Self {
            host,
            base,
            capabilities,
            scheme: match (plain, insecure) {
                (true, true) => Scheme::HttpsThenHttp,
                (true, false) => Scheme::Http,
                (false, _) => Scheme::Https,
            },
            tls: config.map(TlsSettings::from).unwrap_or_default(),
            headers: HeaderMap::new(),
        }
    }

    fn listed(endpoint: &'a HostEndpoint) -> Self {
        let headers = endpoint.headers.iter().filter_map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value).ok()?))
        });
        Self {
            host: &endpoint.host,
            base: endpoint.path.clone(),
            capabilities: endpoint.capabilities,
            scheme: match endpoint.scheme {
                EndpointScheme::Https => Scheme::Https,
                EndpointScheme::Http => Scheme::Http,
            },
            tls: TlsSettings::from(endpoint),
            headers: headers.collect(),
        }
    }
}

/// Whether credentials for `from` may be shown at `to`: the same host, and no way
/// back from TLS.
pub(crate) fn is_same_place(from: &Url, to: &Url) -> bool {
    let upgraded = from.scheme() == "http" && to.scheme() == "https";
    let same_port = from.port_or_known_default() == to.port_or_known_default()
        || (upgraded && from.port().is_none() && to.port().is_none());
    from.host_str() == to.host_str() && same_port && (from.scheme() == to.scheme() || upgraded)
}

/// A URL for logs and errors: query values can be signatures that grant access.
pub(crate) fn without_secrets(url: &Url) -> String {
    let mut shown = url.clone();
    if !shown.username().is_empty() || shown.password().is_some() {
        // Fails only for URLs without a host, which have no user either.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
    }
    if url.query().is_some() {
        let pairs: Vec<(String, String)> = url
            .query_pairs()
            .map(|(key, value)| {
                let keep = matches!(
                    key.as_ref(),
                    "ns" | "digest" | "mount" | "from" | "service" | "scope" | "n"
                );
                (
                    key.into_owned(),
                    if keep {
                        value.into_owned()
                    } else {
                        "REDACTED".to_owned()
                    },
                )
            })
            .collect();
        shown.query_pairs_mut().clear().extend_pairs(pairs);
    }
    shown.to_string()
}
