//! TLS towards a daemon, with a client certificate if there is one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

/// How to secure a `tcp://` connection: `--tlscacert` and its relatives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// The name that the daemon's certificate must be for; the address's host
    /// if absent.
    pub server_name: Option<String>,
    /// PEM file with the authorities to trust; the system's if absent.
    pub ca: Option<PathBuf>,
    /// PEM files with this client's certificate and its key.
    pub identity: Option<Identity>,
}

/// A client's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// PEM file with the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file with the key.
    pub key: PathBuf,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or has nothing of use.
    #[error("could not read {what} {path}: {reason}", path = path.display())]
    File {
        /// `CA certificate`, `client certificate` or `client key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Certificate and key do not fit, or the parts are unusable.
    #[error("cannot use the TLS settings: {0}")]
    Setup(#[from] rustls::Error),
    /// The name to check is not one.
    #[error("{0:?} is not a name that a certificate can be for (see --tlsservername)")]
    Name(String),
}

impl Tls {
    /// Reads all files.
    pub(crate) fn load(&self, host: &str) -> Result<Loaded, TlsError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let server = ServerName::try_from(name.to_owned());
        let server = server.map_err(|_| TlsError::Name(name.to_owned()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots()?);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = certificates("client certificate", &identity.certificate)?;
                let key = PrivateKeyDer::from_pem_file(&identity.key)
                    .map_err(|error| unreadable("client key", &identity.key, &error))?;
                builder.with_client_auth_cert(chain, key)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Loaded {
            config: Arc::new(config),
            server,
            name: name.to_owned(),
        })
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(ca) => {
                for certificate in certificates("CA certificate", ca)? {
                    roots.add(certificate)?;
                }
            }
            None => {
                let system = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(system.certs);
            }
        }
        Ok(roots)
    }
}

/// TLS settings ready to be used.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server: ServerName<'static>,
    pub(crate) name: String,
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = read.map_err(|error| unreadable(what, path, &error))?;
    if found.is_empty() {
        return Err(unreadable(what, path, &"it has no certificate"));
    }
    Ok(found)
}

fn unreadable(what: &'static str, path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::File {
        what,
        path: path.to_path_buf(),
        reason: reason.to_string(),
    }
}
