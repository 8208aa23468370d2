//! The way from a proxy to the servers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::ProxyError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Whom proxies trust when they speak to servers. Cheap to clone; one is enough for a process.
#[derive(Clone)]
pub struct Upstream {
    tls: ClientConfig,
}

impl Upstream {
    /// Trusts the machine's certificates, which takes a while to read, and those in `extra`, PEM text that may be
    /// empty.
    pub fn new(extra: &str) -> Result<Upstream, ProxyError> {
        let mut roots = RootCertStore::empty();
        let loaded = rustls_native_certs::load_native_certs();
        for error in &loaded.errors {
            tracing::debug!(%error, "a system certificate could not be read");
        }
        roots.add_parsable_certificates(loaded.certs);
        for certificate in CertificateDer::pem_slice_iter(extra.as_bytes()) {
            let certificate = certificate.map_err(|error| ProxyError::Roots(error.to_string()))?;
            let added = roots.add(certificate);
            added.map_err(|error| ProxyError::Roots(error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| ProxyError::Client(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Upstream { tls })
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
