//! Outputs that are one stream of bytes.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use futures::stream::BoxStream;
use kiln_protocol::filesync::BytesMessage;
use kiln_protocol::filesync::file_send_server::{FileSend, FileSendServer};
use kiln_session::{Delivery, ExportStream, Services, SessionError};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::pair::Pair;

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Received>>);

#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    is_flushed: bool,
    limit: Option<usize>,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut received = self.0.lock().expect("lock");
        if received
            .limit
            .is_some_and(|limit| received.bytes.len() >= limit)
        {
            return Err(io::Error::other("no space left on device"));
        }
        received.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().expect("lock").is_flushed = true;
        Ok(())
    }
}

fn lent(number: usize, output: &Output) -> Services {
    let delivery = Delivery::Stream(Box::new(output.clone()));
    Services {
        exports: BTreeMap::from([(number, delivery)]),
        ..Services::default()
    }
}

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * at / 7) as u8).collect()
}

/// Writes on a thread that may block, as exporters do.
async fn write(mut stream: ExportStream, bytes: Vec<u8>) -> io::Result<()> {
    let written = tokio::task::spawn_blocking(move || {
        stream.write_all(&bytes)?;
        stream.flush()
    });
    written.await.expect("thread")
}

#[tokio::test]
async fn all_bytes_arrive_before_the_end() {
    for length in [0, 1, 70_000, 9 << 20] {
        let folder = tempfile::tempdir().expect("dir");
        let output = Output::default();
        let pair = Pair::over_socket(folder.path(), lent(3, &output)).await;
        let about = BTreeMap::from([("containerimage.digest".into(), "sha256:1".into())]);
        let stream = pair.remote.stream_target(3, &about).expect("stream");
        write(stream, noise(length)).await.expect("written");
        let received = output.0.lock().expect("lock");
        assert!(
            received.bytes == noise(length) && received.is_flushed,
            "{length}"
        );
    }
}

#[tokio::test]
async fn a_failing_output_fails_the_export() {
    let output = Output::default();
    output.0.lock().expect("lock").limit = Some(1000);
    let pair = Pair::new(lent(0, &output)).await;
    let stream = pair
        .remote
        .stream_target(0, &BTreeMap::new())
        .expect("stream");
    let error = write(stream, noise(50 << 20)).await.expect_err("no space");
    assert!(
        error.to_string().contains("no space left on device"),
        "{error}"
    );
}

#[tokio::test]
async fn an_abandoned_output_is_not_taken_for_a_whole_one() {
    let output = Output::default();
    let pair = Pair::new(lent(0, &output)).await;
    let mut stream = pair
        .remote
        .stream_target(0, &BTreeMap::new())
        .expect("stream");
    let stream = tokio::task::spawn_blocking(move || {
        stream.write_all(&noise(100_000)).expect("write");
        stream
    });
    drop(stream.await.expect("thread"));
    // Its delivery is gone once the client has dealt with it.
    let held = Arc::clone(&output.0);
    drop(output);
    while Arc::strong_count(&held) > 1 {
        tokio::task::yield_now().await;
    }
    assert!(!held.lock().expect("lock").is_flushed);
}

#[tokio::test]
async fn outputs_are_told_apart() {
    let output = Output::default();
    let pair = Pair::new(lent(1, &output)).await;
    let stream = pair
        .remote
        .stream_target(0, &BTreeMap::new())
        .expect("stream");
    let error = write(stream, noise(10)).await.expect_err("no such output");
    assert!(
        error.to_string().contains("exporter 0 not found"),
        "{error}"
    );
    let none = Pair::new(Services::default()).await;
    let error = none
        .remote
        .stream_target(0, &BTreeMap::new())
        .expect_err("not served");
    assert!(matches!(error, SessionError::NotServed { .. }));
    let expected = "method /moby.filesync.v1.FileSend/DiffCopy not supported by the client";
    assert_eq!(error.to_string(), expected);
}

/// A client that has the output already.
struct Full;

#[tonic::async_trait]
impl FileSend for Full {
    type DiffCopyStream = BoxStream<'static, Result<BytesMessage, Status>>;

    async fn diff_copy(
        &self,
        _: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        Err(Status::already_exists("target already exists"))
    }
}

#[tokio::test]
async fn an_output_that_exists_is_left_alone() {
    let routes = Routes::new(FileSendServer::new(Full));
    let pair = Pair::with_routes(routes, &["/moby.filesync.v1.FileSend/diffcopy"]).await;
    let stream = pair
        .remote
        .stream_target(0, &BTreeMap::new())
        .expect("stream");
    write(stream, noise(30 << 20))
        .await
        .expect("taken as written");
}
