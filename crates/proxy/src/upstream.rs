//! The way from a proxy to the servers.

use std::fmt;
use std::time::Duration;

use reqwest::redirect::Policy;
use rustls::ClientConfig;

use crate::ProxyError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Whom proxies trust when they speak to servers. Cheap to clone; one is enough for a process.
#[derive(Clone)]
pub struct Upstream {
    tls: ClientConfig,
}

impl Upstream {
    /// Trusts whom `tls` does.
    pub fn new(tls: ClientConfig) -> Upstream {
        Upstream { tls }
    }

    /// A client with connections of its own, because servers may know a user by the connection. It passes on what
    /// it is given: answers are neither decoded nor followed elsewhere.
    pub(crate) fn client(&self) -> Result<reqwest::Client, ProxyError> {
        reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .redirect(Policy::none())
            .no_proxy()
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            // What the step speaks is HTTP/1.1 in any case.
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(KEEP_ALIVE)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| ProxyError::Client(error.to_string()))
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}
