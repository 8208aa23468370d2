//! Bodies of the client.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};

use futures::TryStreamExt as _;
use kiln_session::{Services, SessionError};

use crate::pair::Pair;

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("pipe broke"))
    }
}

async fn fetch(pair: &Pair, path: &str) -> Result<Vec<u8>, SessionError> {
    let stream = pair.remote.upload("buildkit-session", path).await?;
    let pieces: Vec<_> = stream.try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test]
async fn a_body_is_sent_once() {
    let body = vec![b'x'; 1_000_000];
    let uploads: BTreeMap<String, Box<dyn Read + Send>> = BTreeMap::from([
        ("one".to_owned(), Box::new(Cursor::new(body.clone())) as _),
        ("broken".to_owned(), Box::new(Broken) as _),
    ]);
    let pair = Pair::new(Services {
        uploads,
        ..Services::default()
    })
    .await;
    assert!(fetch(&pair, "/one").await.expect("body") == body);
    for (path, expected) in [
        ("/one", "no http response from session for one"),
        ("/other", "no http response from session for other"),
        ("/broken", "pipe broke"),
    ] {
        let error = fetch(&pair, path).await.expect_err("no body").to_string();
        assert!(error.contains(expected), "{path}: {error}");
    }
}

#[tokio::test]
async fn a_client_without_bodies_says_so() {
    let pair = Pair::new(Services::default()).await;
    let error = fetch(&pair, "/one")
        .await
        .expect_err("no service")
        .to_string();
    assert_eq!(
        error,
        "method /moby.upload.v1.Upload/Pull not supported by the client"
    );
}
