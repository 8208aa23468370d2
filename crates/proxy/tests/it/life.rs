//! Bodies of any size, connections that end, and proxies that do.

use std::fs;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{Fixture, incomplete, requests};
use crate::origin::{Origin, Then, pieces, talk};

/// Connections that a proxy has at the same time.
const PLACES: usize = 256;

/// An answer that breaks off.
const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";

/// The most memory that this process has had since it was last asked to forget, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn big_bodies_take_no_memory() {
    let (origin, trusted) = Origin::secure().await;
    let fixture = Fixture::with(&trusted, None);
    assert_eq!(fixture.get(&origin.url("/hello")).await.0, 200);
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();

    let mut answer = fixture
        .client
        .get(origin.url("/flood/96"))
        .send()
        .await
        .unwrap();
    let mut size = 0;
    while let Some(chunk) = answer.chunk().await.unwrap() {
        size += chunk.len();
    }
    assert_eq!(size, 96 << 20);
    let body = reqwest::Body::wrap_stream(pieces(96));
    let request = fixture.client.post(origin.url("/upload")).body(body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), (96 << 20).to_string());

    let after = peak();
    assert!(
        after < before + (48 << 10),
        "{before} KiB, then {after} KiB"
    );
    let record = fixture.stop().await;
    assert_eq!((record.materials.len(), record.incomplete.len()), (2, 1));
}

#[tokio::test]
async fn a_slow_reader_slows_the_server() {
    let origin = Origin::plain().await;
    let fixture = Fixture::new();
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    let answer = fixture
        .client
        .get(origin.url("/flood/512"))
        .send()
        .await
        .unwrap();
    // The server would be done with it if somebody took it.
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
    let after = peak();
    assert!(
        after < before + (48 << 10),
        "{before} KiB, then {after} KiB"
    );
    drop(answer);
    fixture.stop().await;
}

#[tokio::test]
async fn uploads_keep_their_length() {
    let origin = Origin::plain().await;
    let fixture = Fixture::new();
    let url = origin.url("/headers");
    let answer = fixture.client.put(&url).body("hello").send().await.unwrap();
    let text = answer.text().await.unwrap();
    assert!(text.contains("\ncontent-length: 5\n"), "{text}");
    // curl waits for a go-ahead before it sends that much.
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(3 << 20).unwrap();
    let body = format!("@{}", file.path().display());
    let url = origin.url("/upload");
    let seen = fixture
        .curl(&["-H", "Expect: 100-continue", "--data-binary", &body, &url])
        .await;
    assert_eq!(seen, ((3 << 20).to_string(), 0));
}

#[tokio::test]
async fn a_client_that_goes_ends_its_request() {
    for text in ["", HALF] {
        let server = talk(text, Then::Wait).await;
        let fixture = Fixture::new();
        let mut stream = TcpStream::connect(fixture.address()).await.unwrap();
        let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", server.url);
        stream.write_all(request.as_bytes()).await.unwrap();
        server.asked.await.unwrap();
        if !text.is_empty() {
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
        }
        drop(stream);
        server.gone.await.unwrap();
    }
}

#[tokio::test]
async fn stopping_ends_everything() {
    let halfway = talk(HALF, Then::Wait).await;
    let silent = talk("", Then::Wait).await;
    let fixture = Fixture::new();
    let mut answer = fixture.client.get(&halfway.url).send().await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "hello");
    let (client, url) = (fixture.client.clone(), silent.url);
    let waiting = tokio::spawn(async move { client.get(url).send().await.is_err() });
    let mut idle = TcpStream::connect(fixture.address()).await.unwrap();
    silent.asked.await.unwrap();
    let address = fixture.address();
    let record = fixture.stop().await;
    let url = halfway.url;
    assert_eq!(requests(&record), [format!("GET {url} 200")]);
    assert_eq!(incomplete(&record), [format!("GET {url} body_read_failed")]);
    // Servers and clients all notice.
    halfway.gone.await.unwrap();
    silent.gone.await.unwrap();
    assert!(answer.chunk().await.is_err());
    assert!(waiting.await.unwrap());
    assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn dropping_ends_everything_too() {
    let server = talk(HALF, Then::Wait).await;
    let fixture = Fixture::new();
    let mut answer = fixture.client.get(&server.url).send().await.unwrap();
    drop(fixture.proxy);
    server.gone.await.unwrap();
    while let Ok(Some(_)) = answer.chunk().await {}
}

#[tokio::test]
async fn more_connections_than_there_are_places() {
    let origin = Origin::plain().await;
    let fixture = Fixture::new();
    let mut idle = Vec::new();
    for _ in 0..PLACES {
        idle.push(TcpStream::connect(fixture.address()).await.unwrap());
    }
    let url = origin.url("/hello");
    let (client, wanted) = (fixture.client.clone(), url.clone());
    let waiting = tokio::spawn(async move { client.get(wanted).send().await.unwrap().status() });
    // Whoever waits is served when another one goes.
    drop(idle.pop());
    assert_eq!(waiting.await.unwrap(), 200);
}
