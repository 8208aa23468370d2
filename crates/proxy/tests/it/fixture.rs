//! A proxy with a client that uses it.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;

use kiln_proxy::{Authority, Proxy, Record, Rules, Upstream};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One proxy and its client.
pub(crate) struct Fixture {
    pub(crate) proxy: Proxy,
    pub(crate) client: reqwest::Client,
    pub(crate) authority: Arc<Authority>,
    dir: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Fixture {
        Fixture::with("", None)
    }

    /// One that trusts the authorities in `trusted` and asks `rules`.
    pub(crate) fn with(trusted: &str, rules: Option<Arc<dyn Rules>>) -> Fixture {
        let authority = Arc::new(Authority::new().unwrap());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Upstream::new(trusting(trusted));
        let proxy = Proxy::start(listener, Arc::clone(&authority), &upstream, rules).unwrap();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(trusting(&authority.certificate_pem()))
            .proxy(reqwest::Proxy::all(address(&proxy)).unwrap())
            .build()
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("authority.pem"),
            authority.certificate_pem(),
        )
        .unwrap();
        Fixture {
            proxy,
            client,
            authority,
            dir,
        }
    }

    /// Status and body of what is at a URL.
    pub(crate) async fn get(&self, url: &str) -> (u16, String) {
        let answer = self.client.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Runs curl as a step would; returns what it wrote, and its exit code.
    pub(crate) async fn curl(&self, arguments: &[&str]) -> (String, i32) {
        let mut command = tokio::process::Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "60", "--cacert"]);
        command
            .arg(self.dir.path().join("authority.pem"))
            .args(arguments);
        for variable in self.proxy.variables() {
            let (name, value) = variable.split_once('=').unwrap();
            // What is tested is on the loopback interface.
            if !name.eq_ignore_ascii_case("no_proxy") {
                command.env(name, value);
            }
        }
        let output = command.env_remove("no_proxy").env_remove("NO_PROXY");
        let output = output
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .await
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            String::from_utf8(text).unwrap(),
            output.status.code().unwrap(),
        )
    }

    pub(crate) fn address(&self) -> SocketAddr {
        address(&self.proxy)
            .trim_start_matches("http://")
            .parse()
            .unwrap()
    }

    /// Sends bytes to the proxy, and returns all it answers until it closes the connection.
    pub(crate) async fn say(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    pub(crate) async fn stop(self) -> Record {
        drop(self.client);
        self.proxy.stop().await
    }
}

fn address(proxy: &Proxy) -> String {
    let variable = proxy.variables().swap_remove(0);
    variable.strip_prefix("HTTP_PROXY=").unwrap().to_owned()
}

pub(crate) fn trusting(pem: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Requests of a record, a line each.
pub(crate) fn requests(record: &Record) -> Vec<String> {
    let line = |request: &kiln_proxy::Request| {
        let target = request
            .redirect_target
            .as_deref()
            .map(|url| format!(" -> {url}"));
        let (method, url) = (&request.method, &request.url);
        format!(
            "{method} {url} {}{}",
            request.status,
            target.unwrap_or_default()
        )
    };
    record.requests.iter().map(line).collect()
}

/// What a record says of answers that are no materials, a line each.
pub(crate) fn incomplete(record: &Record) -> Vec<String> {
    let line = |one: &kiln_proxy::Incomplete| format!("{} {} {}", one.method, one.url, one.reason);
    record.incomplete.iter().map(line).collect()
}

/// Materials of a record, a line each, with a text in place of its digest.
pub(crate) fn materials(record: &Record, texts: &[&str]) -> Vec<String> {
    let line = |material: &kiln_proxy::Material| {
        let text = texts
            .iter()
            .find(|text| digest(text.as_bytes()) == material.digest);
        format!("{} {}", material.url, text.unwrap_or(&"?").trim_end())
    };
    record.materials.iter().map(line).collect()
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    use sha2::Digest;
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes)))
}
