//! CONNECT, and what is spoken inside.

use std::process::{Command, Stdio};

use crate::fixture::{Fixture, incomplete, materials, requests};
use crate::origin::Origin;

#[tokio::test]
async fn plain_http_in_a_tunnel() {
    let origin = Origin::plain().await;
    let fixture = Fixture::new();
    let url = origin.url("/hello");
    let seen = fixture.curl(&["--proxytunnel", &url]).await;
    assert_eq!(seen, ("hello\n".to_owned(), 0));
    let record = fixture.stop().await;
    assert_eq!(requests(&record), [format!("GET {url} 200")]);
    assert_eq!(materials(&record, &["hello\n"]), [format!("{url} hello")]);
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_authority() {
    let (origin, trusted) = Origin::secure().await;
    let fixture = Fixture::with(&trusted, None);
    let (text, code) = fixture
        .curl(&["--cacert", "/dev/null", &origin.url("/hello")])
        .await;
    assert_ne!(code, 0, "{text}");
    let record = fixture.stop().await;
    assert_eq!(requests(&record), [""; 0]);
    let expected = format!("CONNECT {} tls_handshake_failed", origin.url(""));
    assert_eq!(incomplete(&record), [expected]);
}

#[tokio::test]
async fn a_tunnel_that_is_not_used_is_not_recorded() {
    let fixture = Fixture::new();
    let mut stream = tokio::net::TcpStream::connect(fixture.address())
        .await
        .unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let request = b"CONNECT host:443 HTTP/1.1\r\nHost: host:443\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    stream.shutdown().await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    assert_eq!(fixture.stop().await, kiln_proxy::Record::default());
}

#[tokio::test]
async fn only_http_1_is_spoken() {
    let (origin, trusted) = Origin::secure().await;
    let fixture = Fixture::with(&trusted, None);
    let format = "%{http_version} %{stderr}%{proxy_ssl_verify_result}";
    let (text, code) = fixture
        .curl(&["--http2", "-w", format, &origin.url("/hello")])
        .await;
    assert_eq!((text.as_str(), code), ("hello\n1.1 0", 0));
}

#[tokio::test]
async fn several_requests_on_a_connection() {
    let (origin, trusted) = Origin::secure().await;
    let fixture = Fixture::with(&trusted, None);
    let urls = ["/hello", "/broken", "/redirect", "/other"].map(|path| origin.url(path));
    let arguments = [
        "-w",
        "%{num_connects}\n",
        &urls[0],
        &urls[1],
        &urls[2],
        &urls[3],
    ];
    let (text, code) = fixture.curl(&arguments).await;
    assert_eq!(
        (text.as_str(), code),
        ("hello\n1\nbroken\n0\n0\nother\n0\n", 0)
    );
    let record = fixture.stop().await;
    assert_eq!(record.requests.len(), 4);
    let expected = [
        format!("{} hello", urls[0]),
        format!("{} other", urls[3]),
        format!("{} hello", urls[2]),
    ];
    assert_eq!(materials(&record, &["hello\n", "other\n"]), expected);
}

#[tokio::test]
async fn certificates_satisfy_a_strict_verifier() {
    let fixture = Fixture::new();
    let dir = tempfile::tempdir().unwrap();
    let authority = dir.path().join("authority.pem");
    std::fs::write(&authority, fixture.authority.certificate_pem()).unwrap();
    let address = fixture.address().to_string();
    for (option, name) in [
        ("-verify_hostname", "example.com"),
        ("-verify_ip", "192.0.2.7"),
    ] {
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            "-proxy",
            &address,
            "-connect",
            &format!("{name}:443"),
        ]);
        command.args(["-CAfile"]).arg(&authority);
        command.args(["-x509_strict", "-verify_return_error", option, name]);
        let output =
            tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().unwrap());
        let output = output.await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
        assert!(text.contains("Kiln exec proxy"), "{text}");
    }
}
