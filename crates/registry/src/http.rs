//! HTTP clients, one for each way of doing TLS, sharing name resolution and proxies.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::redirect::Policy;

use crate::client::{ProxySettings, Timeouts};
use crate::dns::SystemDns;
use crate::error::RegistryError;
use crate::tls::TlsSettings;

const IDLE_CONNECTIONS: usize = 8;
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Makes clients on demand and keeps them.
pub(crate) struct HttpClients {
    dns: SystemDns,
    proxy: ProxySettings,
    user_agent: String,
    connect_timeout: Duration,
    clients: Mutex<HashMap<TlsSettings, reqwest::Client>>,
    web: Mutex<Option<reqwest::Client>>,
}

impl HttpClients {
    pub(crate) fn new(proxy: ProxySettings, user_agent: String, timeouts: &Timeouts) -> Self {
        Self {
            dns: SystemDns::default(),
            proxy,
            user_agent,
            connect_timeout: timeouts.connect,
            clients: Mutex::default(),
            web: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, tls: &TlsSettings) -> Result<reqwest::Client, RegistryError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(tls) {
            return Ok(client.clone());
        }
        // Redirects are followed by hand: who may see the credentials is our decision.
        let client = self.builder(tls)?.redirect(Policy::none());
        let client = built(client)?;
        clients.insert(tls.clone(), client.clone());
        Ok(client)
    }

    /// A client for all that is not a registry.
    pub(crate) fn web(&self, idle: Duration) -> Result<reqwest::Client, RegistryError> {
        let mut web = self.web.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*web {
            return Ok(client.clone());
        }
        let client = self.builder(&TlsSettings::default())?;
        let client = built(client.redirect(Policy::default()).read_timeout(idle))?;
        *web = Some(client.clone());
        Ok(client)
    }

    /// A client that gives up a server that is silent for so long, also while it is sent something.
    pub(crate) fn impatient(
        &self,
        tls: &TlsSettings,
        silence: Duration,
    ) -> Result<reqwest::Client, RegistryError> {
        let client = self.builder(tls)?.redirect(Policy::none());
        built(client.read_timeout(silence))
    }

    fn builder(&self, tls: &TlsSettings) -> Result<reqwest::ClientBuilder, RegistryError> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.load()?)
            .dns_resolver(self.dns.clone())
            .user_agent(&self.user_agent)
            // HTTP/2 puts all transfers of a registry into one TCP connection's window.
            .http1_only()
            .connect_timeout(self.connect_timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_keepalive(KEEP_ALIVE)
            .tcp_nodelay(true)
            // No environment of the process: proxies are given as data.
            .no_proxy();
        for proxy in self.proxy.to_reqwest()? {
            builder = builder.proxy(proxy);
        }
        Ok(builder)
    }
}

fn built(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, RegistryError> {
    let client = builder.build();
    client.map_err(|error| RegistryError::Setup(error.to_string()))
}
