//! TLS and mutual TLS on networks.

use std::path::PathBuf;

use kiln_protocol::control::InfoRequest;
use kiln_protocol::control::control_client::ControlClient;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::process::{Daemon, command};

/// An authority and what it signed, as files below a directory.
struct Authority {
    dir: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { dir, issuer }
    }

    fn file(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Signs a certificate, and writes it and its key.
    fn sign(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        Identity::from_pem(certificate.pem(), key.serialize_pem())
    }

    fn client(&self) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(self.issuer.pem()))
            .domain_name("localhost")
    }
}

async fn ask(address: &str, tls: Option<ClientTlsConfig>) -> Result<(), String> {
    let endpoint = match tls {
        None => Endpoint::from_shared(format!("http://{address}")).unwrap(),
        Some(tls) => Endpoint::from_shared(format!("https://{address}"))
            .unwrap()
            .tls_config(tls)
            .unwrap(),
    };
    let channel: Channel = endpoint
        .connect()
        .await
        .map_err(|error| error.to_string())?;
    let answer = ControlClient::new(channel).info(InfoRequest {}).await;
    answer.map(drop).map_err(|error| error.to_string())
}

fn address(daemon: &Daemon) -> String {
    let log = daemon.log();
    let (_, rest) = log.split_once("running server on tcp://").unwrap();
    rest.lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn only_peers_with_the_right_certificate_get_in() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ours = Authority::new();
    let theirs = Authority::new();
    ours.sign("server");
    let (client, stranger) = (ours.sign("client"), theirs.sign("client"));
    let files = [
        format!("--tlscert={}", ours.file("server.pem")),
        format!("--tlskey={}", ours.file("server.key")),
        format!("--tlscacert={}", ours.file("ca.pem")),
    ];
    let mut flags = files.iter().map(String::as_str).collect::<Vec<_>>();
    flags.push("--addr=tcp://127.0.0.1:0");
    let daemon = Daemon::start(&flags);
    let address = address(&daemon);
    ask(&address, Some(ours.client().identity(client.clone())))
        .await
        .unwrap();
    ask(&address, None).await.unwrap_err();
    ask(&address, Some(ours.client())).await.unwrap_err();
    ask(&address, Some(ours.client().identity(stranger)))
        .await
        .unwrap_err();
    ask(&address, Some(theirs.client().identity(client.clone())))
        .await
        .unwrap_err();
    ask(&address, Some(ours.client().identity(client)))
        .await
        .unwrap();
    // The unix socket asks nobody.
    daemon.client().await.info(InfoRequest {}).await.unwrap();

    let daemon = Daemon::start(&[flags[0], flags[1], flags[3]]);
    let address = self::address(&daemon);
    ask(&address, Some(ours.client())).await.unwrap();
}

#[tokio::test]
async fn without_tls_there_is_a_warning() {
    let daemon = Daemon::start(&["--addr=tcp://127.0.0.1:0"]);
    ask(&address(&daemon), None).await.unwrap();
    assert!(
        daemon
            .log()
            .contains("TLS is not enabled for tcp://127.0.0.1:0"),
        "{}",
        daemon.log()
    );
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    authority.sign("server");
    std::fs::write(authority.path("garbage"), "garbage").unwrap();
    let check = |cert: &str, key: &str, ca: &str, parts: &[&str]| {
        let flags = [
            format!("--tlscert={}", authority.file(cert)),
            format!("--tlskey={}", authority.file(key)),
            format!("--tlscacert={}", authority.file(ca)),
            "--addr=tcp://127.0.0.1:0".to_owned(),
        ];
        let flags = flags.iter().map(String::as_str).collect::<Vec<_>>();
        let ran = command(authority.dir.path(), &flags).output().unwrap();
        let message = String::from_utf8_lossy(&ran.stderr);
        assert!(!ran.status.success());
        for part in parts {
            assert!(message.contains(part), "{part:?} is missing in {message}");
        }
    };
    check(
        "missing",
        "server.key",
        "ca.pem",
        &["certificate", "missing", "No such file"],
    );
    check(
        "garbage",
        "server.key",
        "ca.pem",
        &["garbage", "no certificate in the file"],
    );
    check("server.pem", "garbage", "ca.pem", &["key", "garbage"]);
    check(
        "server.pem",
        "server.key",
        "garbage",
        &["certificate authority", "garbage"],
    );
}
