//! The authority that steps trust, and the certificates that it gives to hosts.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};

use crate::ProxyError;

const NAME: &str = "Kiln exec proxy";
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Certificates that are kept for the next connection.
const KEPT: usize = 1024;
/// X.509 allows no longer common names.
const LONGEST_COMMON_NAME: usize = 64;

/// A certificate authority that lives as long as its process. Its key is in memory only.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// One for all hosts: what is told apart by certificates is not secured by them.
    leaf_key: KeyPair,
    leaves: Mutex<Leaves>,
}

#[derive(Debug, Default)]
struct Leaves {
    by_host: HashMap<String, Leaf>,
    /// Counts uses and certificates.
    clock: u64,
}

#[derive(Debug)]
struct Leaf {
    config: Arc<ServerConfig>,
    good_until: SystemTime,
    used: u64,
}

impl Authority {
    /// Makes a new one, which is valid for ten years from an hour ago.
    pub fn new() -> Result<Authority, ProxyError> {
        let fail = |error| failed(NAME, &error);
        let now = SystemTime::now();
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(NAME);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params.not_before = (now - HOUR).into();
        params.not_after = (now + LIFETIME).into();
        let key = KeyPair::generate().map_err(fail)?;
        Ok(Authority {
            issuer: CertifiedIssuer::self_signed(params, key).map_err(fail)?,
            leaf_key: KeyPair::generate().map_err(fail)?,
            leaves: Mutex::default(),
        })
    }

    /// The authority's certificate as PEM text: what a step has to trust.
    pub fn certificate_pem(&self) -> String {
        self.issuer.pem()
    }

    /// How to be `host`, a DNS name or an address, for a client that trusts this authority.
    pub(crate) fn serve_as(&self, host: &str) -> Result<Arc<ServerConfig>, ProxyError> {
        self.serve_as_at(host, SystemTime::now())
    }

    fn serve_as_at(&self, host: &str, now: SystemTime) -> Result<Arc<ServerConfig>, ProxyError> {
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        leaves.clock += 1;
        let clock = leaves.clock;
        if let Some(leaf) = leaves.by_host.get_mut(host)
            && now < leaf.good_until
        {
            leaf.used = clock;
            return Ok(Arc::clone(&leaf.config));
        }
        let config = Arc::new(self.sign(host, now, clock)?);
        let leaf = Leaf {
            config: Arc::clone(&config),
            good_until: now + DAY - HOUR,
            used: clock,
        };
        leaves.by_host.insert(host.to_owned(), leaf);
        leaves.drop_oldest();
        Ok(config)
    }

    fn sign(&self, host: &str, now: SystemTime, number: u64) -> Result<ServerConfig, ProxyError> {
        let fail = |error| failed(host, &error);
        let mut params = CertificateParams::default();
        let short = Some(host).filter(|host| host.len() <= LONGEST_COMMON_NAME);
        params.distinguished_name = common_name(short.unwrap_or(NAME));
        params.subject_alt_names = vec![match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.try_into().map_err(fail)?),
        }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = (now - HOUR).into();
        params.not_after = (now + DAY).into();
        params.serial_number = Some(serial(host, number));
        let certificate = params
            .signed_by(&self.leaf_key, &self.issuer)
            .map_err(fail)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                let chain = vec![certificate.der().clone()];
                builder.with_no_client_auth().with_single_cert(chain, key)
            })
            .map_err(|error| failed(host, &error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl Leaves {
    fn drop_oldest(&mut self) {
        while self.by_host.len() > KEPT {
            let oldest = self.by_host.iter().min_by_key(|(_, leaf)| leaf.used);
            let Some(host) = oldest.map(|(host, _)| host.clone()) else {
                return;
            };
            self.by_host.remove(&host);
        }
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// Clients may refuse two certificates of one issuer with the same number.
fn serial(host: &str, number: u64) -> SerialNumber {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(host);
    hash.update(number.to_le_bytes());
    hash.update(since.as_nanos().to_le_bytes());
    let mut bytes = hash.finalize()[..16].to_vec();
    // A positive number.
    bytes[0] &= 0x7f;
    SerialNumber::from(bytes)
}

fn failed(name: &str, error: &dyn std::error::Error) -> ProxyError {
    ProxyError::Certificate {
        name: name.to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_kept_until_an_hour_before_their_end() {
        let authority = Authority::new().unwrap();
        let now = SystemTime::now();
        let first = authority.serve_as_at("host", now).unwrap();
        let check = |later: Duration, same: bool| {
            let next = authority.serve_as_at("host", now + later).unwrap();
            assert_eq!(Arc::ptr_eq(&first, &next), same, "{later:?}");
        };
        check(Duration::ZERO, true);
        check(DAY - HOUR - Duration::from_secs(1), true);
        check(DAY - HOUR, false);
    }

    #[test]
    fn the_least_recently_used_certificates_go() {
        let authority = Authority::new().unwrap();
        let first = authority.serve_as("first").unwrap();
        let second = authority.serve_as("second").unwrap();
        for number in 2..KEPT {
            authority.serve_as(&format!("host{number}")).unwrap();
        }
        assert!(Arc::ptr_eq(&first, &authority.serve_as("first").unwrap()));
        authority.serve_as("one-more").unwrap();
        assert!(Arc::ptr_eq(&first, &authority.serve_as("first").unwrap()));
        assert!(!Arc::ptr_eq(
            &second,
            &authority.serve_as("second").unwrap()
        ));
        assert_eq!(authority.leaves.lock().unwrap().by_host.len(), KEPT);
    }

    #[test]
    fn every_kind_of_host_gets_a_certificate() {
        let authority = Authority::new().unwrap();
        let check = |host: &str, works: bool| {
            assert_eq!(authority.serve_as(host).is_ok(), works, "{host}");
        };
        check("example.com", true);
        check("127.0.0.1", true);
        check("::1", true);
        check(&format!("{}.example.com", "a".repeat(63)), true);
        check("m\u{fc}ller.example", false);
    }
}
