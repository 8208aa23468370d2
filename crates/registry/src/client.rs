//! The client of a whole engine, and one repository seen through it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::{
    Accounts, AuthState, Authority, Credential, Token, TokenRequest, fetch as fetch_token,
};
use crate::endpoint::{Endpoint, Scheme};
use crate::error::RegistryError;
use crate::hosts::{Capability, Hosts, is_loopback};
use crate::http::HttpClients;
use crate::reference::Reference;
use crate::tls::TlsSettings;

/// Everything a [`Client`] is made from.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Settings by registry.
    pub hosts: Hosts,
    /// Proxies.
    pub proxy: ProxySettings,
    /// Sent with every request.
    pub user_agent: String,
    /// Blob transfers at the same time for each host.
    pub parallel_transfers: usize,
    /// How persistently failed requests are repeated.
    pub retry: RetryPolicy,
    /// When to stop waiting.
    pub timeouts: Timeouts,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            hosts: Hosts::new(),
            proxy: ProxySettings::default(),
            user_agent: concat!("kiln/", env!("CARGO_PKG_VERSION")).to_owned(),
            parallel_transfers: 4,
            retry: RetryPolicy::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// Proxies, as the variables `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` name them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// For plain HTTP.
    pub http: Option<String>,
    /// For HTTPS.
    pub https: Option<String>,
    /// Hosts to reach directly, separated by commas.
    pub no_proxy: Option<String>,
}

impl ProxySettings {
    /// From the usual variables (`HTTP_PROXY`, `https_proxy`, …), which the caller looks up.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            let value = variable(name).or_else(|| variable(&name.to_lowercase()));
            value.filter(|value| !value.is_empty())
        };
        Self {
            http: either("HTTP_PROXY"),
            https: either("HTTPS_PROXY"),
            no_proxy: either("NO_PROXY"),
        }
    }

    pub(crate) fn to_reqwest(&self) -> Result<Vec<reqwest::Proxy>, RegistryError> {
        // Loopback is never meant for a proxy, as in Go's net/http.
        let mut exceptions = "localhost,127.0.0.0/8,::1".to_owned();
        if let Some(more) = self
            .no_proxy
            .as_deref()
            .filter(|more| !more.trim().is_empty())
        {
            exceptions = format!("{exceptions},{more}");
        }
        let exceptions = reqwest::NoProxy::from_string(&exceptions);
        let http = self.http.as_deref().map(reqwest::Proxy::http);
        let https = self.https.as_deref().map(reqwest::Proxy::https);
        http.into_iter()
            .chain(https)
            .map(|proxy| proxy.map(|proxy| proxy.no_proxy(exceptions.clone())))
            .collect::<Result<_, _>>()
            .map_err(|error| RegistryError::Setup(format!("invalid proxy: {error}")))
    }
}

/// Repeating of requests that failed for a reason that may pass.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// How often one request is sent at most.
    pub attempts: u32,
    /// The first pause; each further one is twice as long.
    pub first_pause: Duration,
    /// No pause is longer, except when the registry names a time (`Retry-After`).
    pub longest_pause: Duration,
    /// A longer `Retry-After` than this is an error at once.
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(8),
            longest_wait: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// The pause before a failed request is sent again; `None` if it is not.
    pub(crate) fn again(&self, failures: u32, asked: Option<Duration>) -> Option<Duration> {
        let asked = asked.unwrap_or_default();
        let goes_on = failures < self.attempts && asked <= self.longest_wait;
        goes_on.then(|| asked.max(self.pause(failures)))
    }

    /// The pause after the given number of failures.
    pub(crate) fn pause(&self, failures: u32) -> Duration {
        let doubled = self
            .first_pause
            .saturating_mul(1 << failures.saturating_sub(1).min(16));
        doubled.min(self.longest_pause)
    }
}

/// Whether a client speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebCertificates {
    /// Plain HTTP only: the system's certificates are not read.
    Unused,
    /// The system's certificates count.
    Verified,
}

/// When to stop waiting.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the first byte of an answer.
    pub answer: Duration,
    /// For the next piece of a body.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            answer: Duration::from_secs(60),
            idle: Duration::from_secs(60),
        }
    }
}

/// Speaks to any number of registries. Cheap to clone; clones share connections,
/// tokens and limits.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) hosts: Hosts,
    pub(crate) http: HttpClients,
    pub(crate) auth: AuthState,
    pub(crate) retry: RetryPolicy,
    pub(crate) timeouts: Timeouts,
    parallel_transfers: usize,
    limits: Mutex<HashMap<String, Limits>>,
}

/// How much may go on with one host at the same time.
#[derive(Clone)]
struct Limits {
    transfers: Arc<Semaphore>,
    /// Short questions, which need not wait for transfers.
    questions: Arc<Semaphore>,
}

/// Questions to one host at the same time.
const PARALLEL_QUESTIONS: usize = 8;

impl Client {
    /// A client without any connection yet. Certificate files are read when they are needed.
    pub fn new(options: ClientOptions) -> Result<Self, RegistryError> {
        options.proxy.to_reqwest()?;
        let http = HttpClients::new(options.proxy, options.user_agent, &options.timeouts);
        Ok(Self {
            shared: Arc::new(Shared {
                hosts: options.hosts,
                http,
                auth: AuthState::default(),
                retry: options.retry,
                timeouts: options.timeouts,
                parallel_transfers: options.parallel_transfers.max(1),
                limits: Mutex::default(),
            }),
        })
    }

    /// An HTTP client for all that is not a registry, with the same proxies, name resolution and trusted certificates.
    /// It follows redirects, and takes credentials along to the same host only.
    pub fn web(&self) -> Result<reqwest::Client, RegistryError> {
        self.shared.http.web(self.shared.timeouts.idle)
    }

    /// Whom that client trusts, for whoever needs a client of another kind.
    pub fn web_trust() -> Result<rustls::ClientConfig, RegistryError> {
        TlsSettings::default().load()
    }

    /// A client for web servers that are no registries, with the same way to names and through proxies. Redirects are
    /// not followed. With `silence`, a server that says nothing for so long is given up, also while it is sent
    /// something.
    pub fn web_without_redirects(
        &self,
        certificates: WebCertificates,
        silence: Option<Duration>,
    ) -> Result<reqwest::Client, RegistryError> {
        let tls = match certificates {
            WebCertificates::Unused => TlsSettings::unused(),
            WebCertificates::Verified => TlsSettings::default(),
        };
        match silence {
            None => self.shared.http.get(&tls),
            Some(silence) => self.shared.http.impatient(&tls, silence),
        }
    }

    /// The repository of a reference, seen with one user's credentials. Tag and digest
    /// of the reference do not matter here.
    pub fn repository(&self, reference: &Reference, authority: Arc<dyn Authority>) -> Repository {
        Repository {
            shared: Arc::clone(&self.shared),
            name: reference.without_version(),
            endpoints: Endpoint::all(reference, &self.shared.hosts).into(),
            authority,
            accounts: Arc::default(),
        }
    }

    /// Fetches a token with a credential at hand, on behalf of somebody who must not see
    /// it. Over plain HTTP only where the registry itself may be reached so.
    pub async fn fetch_token(
        &self,
        request: &TokenRequest,
        credential: &Credential,
    ) -> Result<Token, RegistryError> {
        let config = self.shared.hosts.get(&request.host);
        let told = config.and_then(|config| config.http.or(config.insecure));
        let plain = told.unwrap_or_else(|| is_loopback(&request.host));
        let scheme = if plain { Scheme::Http } else { Scheme::Https };
        let tls = config.map(TlsSettings::from).unwrap_or_default();
        let http = self.shared.http.get(&tls)?;
        fetch_token(&http, request, credential, scheme).await
    }
}

impl Shared {
    /// Waits until one more blob transfer with this host may start.
    pub(crate) async fn transfer(&self, host: &str) -> Result<OwnedSemaphorePermit, RegistryError> {
        acquire(self.limits(host).transfers).await
    }

    /// Waits until one more short question may be put to this host.
    pub(crate) async fn question(&self, host: &str) -> Result<OwnedSemaphorePermit, RegistryError> {
        acquire(self.limits(host).questions).await
    }

    fn limits(&self, host: &str) -> Limits {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Limits {
            transfers: Arc::new(Semaphore::new(self.parallel_transfers)),
            questions: Arc::new(Semaphore::new(PARALLEL_QUESTIONS)),
        };
        limits.entry(host.to_owned()).or_insert_with(fresh).clone()
    }
}

async fn acquire(semaphore: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, RegistryError> {
    semaphore
        .acquire_owned()
        .await
        .map_err(|_| RegistryError::Setup("the registry client is shutting down".to_owned()))
}

/// One repository. Cheap to clone.
#[derive(Clone)]
pub struct Repository {
    pub(crate) shared: Arc<Shared>,
    pub(crate) name: Reference,
    pub(crate) endpoints: Arc<[Endpoint]>,
    pub(crate) authority: Arc<dyn Authority>,
    pub(crate) accounts: Arc<Accounts>,
}

impl Repository {
    /// The repository's full name, without tag and digest.
    pub fn name(&self) -> &Reference {
        &self.name
    }

    /// The scope a token needs.
    pub(crate) fn scope(&self, access: Access) -> String {
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        format!("repository:{}:{actions}", self.name.path())
    }

    /// The endpoint to push to: the registry itself, unless a `hosts.toml` names another.
    pub(crate) fn registry(&self) -> Result<&Endpoint, RegistryError> {
        let mut endpoints = self.serving(Capability::Push).into_iter();
        endpoints
            .next()
            .ok_or_else(|| self.nowhere(Capability::Push))
    }

    /// The endpoints that may be asked for something, in their order.
    pub(crate) fn serving(&self, capability: Capability) -> Vec<&Endpoint> {
        let endpoints = self.endpoints.iter();
        endpoints
            .filter(|endpoint| endpoint.capabilities.has(capability))
            .collect()
    }

    /// The error for something that no endpoint may be asked for.
    pub(crate) fn nowhere(&self, capability: Capability) -> RegistryError {
        RegistryError::Nowhere {
            repository: self.name.to_string(),
            capability: match capability {
                Capability::Resolve => "resolve",
                Capability::Pull => "pull",
                Capability::Push => "push",
            },
        }
    }
}

/// What a request does to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
}

impl Access {
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
        }
    }
}
