//! TLS settings of a registry, made into a configuration of rustls.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::error::RegistryError;
use crate::hosts::{Certificates, HostConfig, HostEndpoint, KeyPair};
use crate::verifier::{AcceptAnything, VerifyChain};

/// What distinguishes one HTTP client of ours from another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct TlsSettings {
    pub(crate) trust: Trust,
    pub(crate) authorities: Vec<PathBuf>,
    pub(crate) keypairs: Vec<KeyPair>,
    directories: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Trust {
    #[default]
    Verified,
    Anything,
    /// For plain HTTP, which needs no certificates at all: reading the system's takes longer than a small build.
    Nothing,
}

impl From<&HostConfig> for TlsSettings {
    fn from(config: &HostConfig) -> Self {
        Self {
            trust: if config.insecure == Some(true) {
                Trust::Anything
            } else {
                Trust::Verified
            },
            authorities: config.ca.clone(),
            keypairs: config.keypairs.clone(),
            directories: config.tls_config_dirs.clone(),
        }
    }
}

impl From<&HostEndpoint> for TlsSettings {
    fn from(endpoint: &HostEndpoint) -> Self {
        Self {
            trust: match endpoint.certificates {
                Certificates::Any => Trust::Anything,
                Certificates::Verified => Trust::Verified,
            },
            authorities: endpoint.ca.clone(),
            keypairs: endpoint.keypairs.clone(),
            directories: Vec::new(),
        }
    }
}

impl TlsSettings {
    /// For a host that is spoken to in plain HTTP only.
    pub(crate) fn unused() -> Self {
        Self {
            trust: Trust::Nothing,
            ..Self::default()
        }
    }

    /// For another host that we were sent to: trusted alike, but not told who we are.
    pub(crate) fn without_identity(&self) -> Self {
        Self {
            keypairs: Vec::new(),
            ..self.clone()
        }
    }

    /// Reads the files and builds the configuration.
    pub(crate) fn load(&self) -> Result<ClientConfig, RegistryError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let setup = |error: rustls::Error| RegistryError::Setup(error.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(setup)?;
        let (extra_authorities, extra_keypairs) = self.scan_directories();
        let builder = match self.trust {
            Trust::Anything => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AcceptAnything(provider))),
            Trust::Nothing => {
                return Ok(builder
                    .with_root_certificates(RootCertStore::empty())
                    .with_no_client_auth());
            }
            Trust::Verified => {
                let (mut roots, mut trusted) = system_roots().clone();
                for path in self.authorities.iter().chain(&extra_authorities) {
                    for certificate in read_certificates(path)? {
                        roots
                            .add(certificate.clone())
                            .map_err(|error| invalid(path, &error))?;
                        trusted.push(certificate);
                    }
                }
                let verifier = VerifyChain::new(roots, trusted, provider)?;
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        // rustls shows one chain; servers that accept several are not known.
        match self.keypairs.iter().chain(&extra_keypairs).next() {
            None => Ok(builder.with_no_client_auth()),
            Some(pair) => {
                let chain = read_certificates(&pair.certificate)?;
                let key = PrivateKeyDer::from_pem_file(&pair.key)
                    .map_err(|error| invalid(&pair.key, &error))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| invalid(&pair.certificate, &error))
            }
        }
    }

    /// Docker's layout; directories that are missing or closed to us count as empty.
    fn scan_directories(&self) -> (Vec<PathBuf>, Vec<KeyPair>) {
        let mut authorities = Vec::new();
        let mut keypairs = Vec::new();
        for directory in &self.directories {
            let Ok(entries) = std::fs::read_dir(directory) else {
                continue;
            };
            let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            files.sort();
            for path in files {
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => authorities.push(path),
                    Some("cert") => keypairs.push(KeyPair {
                        key: path.with_extension("key"),
                        certificate: path,
                    }),
                    _ => {}
                }
            }
        }
        (authorities, keypairs)
    }
}

type Roots = (RootCertStore, Vec<CertificateDer<'static>>);

/// The system's roots, read once per process: they are some 150 files' worth.
fn system_roots() -> &'static Roots {
    static ROOTS: OnceLock<Roots> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        let loaded = rustls_native_certs::load_native_certs();
        for error in &loaded.errors {
            tracing::debug!(%error, "a system certificate could not be read");
        }
        roots.add_parsable_certificates(loaded.certs.iter().cloned());
        (roots, loaded.certs)
    })
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, RegistryError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(|iter| iter.collect::<Result<Vec<_>, _>>())
        .map_err(|error| invalid(path, &error))?;
    if certificates.is_empty() {
        return Err(invalid(path, &"no certificate in the file"));
    }
    Ok(certificates)
}

fn invalid(path: &Path, reason: &dyn std::fmt::Display) -> RegistryError {
    RegistryError::Certificate {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
