//! Certificates of listeners.

use std::path::Path;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::ListenError;
use crate::settings::TlsFiles;

/// A peer that takes longer to greet is not one.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Reads the files; with a client authority, clients must show a certificate
/// that it signed.
pub(super) fn load(files: &TlsFiles) -> Result<ServerTlsConfig, ListenError> {
    let certificate = read_certificates("certificate", &files.certificate)?;
    let key = read("key", &files.key)?;
    PrivateKeyDer::from_pem_slice(&key).map_err(|error| unusable("key", &files.key, &error))?;
    let mut config = ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate, key))
        .timeout(HANDSHAKE);
    if let Some(path) = &files.client_ca {
        let authority = read_certificates("certificate authority", path)?;
        config = config.client_ca_root(Certificate::from_pem(authority));
    }
    Ok(config)
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, ListenError> {
    std::fs::read(path).map_err(|error| unusable(what, path, &error))
}

fn read_certificates(what: &'static str, path: &Path) -> Result<Vec<u8>, ListenError> {
    let pem = read(what, path)?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(unusable(what, path, &"there is no certificate in the file"))
        }
        Ok(_) => Ok(pem),
        Err(error) => Err(unusable(what, path, &error)),
    }
}

fn unusable(what: &'static str, path: &Path, reason: &dyn std::fmt::Display) -> ListenError {
    ListenError::Certificate {
        what,
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
