//! Takes the outputs of a build that the daemon sends.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use kiln_protocol::filesync::BytesMessage;
use kiln_protocol::filesync::file_send_server::SERVICE_NAME;
use kiln_protocol::fsutil::Packet;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::Service;

use super::Delivery;
use crate::remote::EXPORTER;
use crate::transfer::{Link, Others, WHOLE_RESULT, deliver};
use crate::tunnel::MESSAGE_LIMIT;

/// The `FileSend` service. Its one method carries two kinds of messages: pieces of a stream, and
/// packets of a tree. Which ones they are depends on what the output is.
#[derive(Clone)]
pub(super) struct Deliveries {
    by_exporter: Arc<Mutex<BTreeMap<usize, Delivery>>>,
}

impl Deliveries {
    pub(super) fn new(exports: BTreeMap<usize, Delivery>) -> Self {
        Self {
            by_exporter: Arc::new(Mutex::new(exports)),
        }
    }

    /// A stream is written once; a directory takes the results of several platforms, a receiver a second attempt.
    fn take(&self, exporter: usize) -> Result<Delivery, Status> {
        let mut deliveries = self
            .by_exporter
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let delivery = match deliveries.get(&exporter) {
            Some(Delivery::Directory(path)) => Some(Delivery::Directory(path.clone())),
            Some(Delivery::Mirror(path)) => Some(Delivery::Mirror(path.clone())),
            Some(Delivery::Receiver(receiver)) => Some(Delivery::Receiver(receiver.clone())),
            Some(Delivery::Stream(_)) | None => deliveries.remove(&exporter),
        };
        delivery.ok_or_else(|| Status::not_found(format!("exporter {exporter} not found")))
    }
}

impl NamedService for Deliveries {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<http::Request<Body>> for Deliveries {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let metadata = MetadataMap::from_headers(request.headers().clone());
        let delivery = match request.uri().path().ends_with("/DiffCopy") {
            true => self.take(exporter_of(&metadata)),
            false => Err(Status::unimplemented("FileSend has DiffCopy only")),
        };
        async move {
            Ok(match delivery {
                Err(status) => status.into_http(),
                Ok(Delivery::Stream(out)) => {
                    let out = std::future::ready(Ok(out));
                    serve(|pieces| async { Ok(take_pieces(pieces, out)) }, request).await
                }
                Ok(Delivery::Receiver(receiver)) => {
                    let begun = tokio::task::spawn_blocking(move || receiver.receive());
                    let out = joined(begun);
                    serve(|pieces| async { Ok(take_pieces(pieces, out)) }, request).await
                }
                Ok(Delivery::Directory(path)) => {
                    let receive = |packets| async move { Ok(receive(packets, path, Others::Keep)) };
                    serve(receive, request).await
                }
                Ok(Delivery::Mirror(_)) if metadata.get(WHOLE_RESULT).is_none() => {
                    let message = "local exporter mode=delete requires a BuildKit daemon with \
                                   multi-platform local export support";
                    Status::failed_precondition(message).into_http()
                }
                Ok(Delivery::Mirror(path)) => {
                    let receive =
                        |packets| async move { Ok(receive(packets, path, Others::Remove)) };
                    serve(receive, request).await
                }
            })
        }
        .boxed()
    }
}

type Answer<M> = Response<BoxStream<'static, Result<M, Status>>>;

/// Serves the one call with the messages that its output takes.
async fn serve<M, F>(
    handle: impl FnOnce(Request<Streaming<M>>) -> F + Send,
    request: http::Request<Body>,
) -> http::Response<Body>
where
    M: prost::Message + Default + 'static,
    F: Future<Output = Result<Answer<M>, Status>> + Send,
{
    let mut handle = Some(handle);
    let method = tower::service_fn(move |request| {
        let handle = handle.take().map(|handle| handle(request));
        async move {
            match handle {
                Some(answer) => answer.await,
                None => Err(Status::internal("one call is served once")),
            }
        }
    });
    let codec = ProstCodec::<M, M>::default();
    tonic::server::Grpc::new(codec)
        .apply_max_message_size_config(Some(MESSAGE_LIMIT), None)
        .streaming(method, request)
        .await
}

/// The answer is empty and ends, well or not, once everything is in its place.
fn answer<M: Send + 'static>(
    written: impl Future<Output = Result<(), Status>> + Send + 'static,
) -> Answer<M> {
    let end = futures::stream::once(written)
        .filter_map(|written| std::future::ready(written.err().map(Err)));
    Response::new(end.boxed())
}

fn receive(request: Request<Streaming<Packet>>, path: PathBuf, others: Others) -> Answer<Packet> {
    let (link, outbound) = Link::new(request.into_inner());
    tokio::spawn(deliver(link, path, others));
    Response::new(outbound.boxed())
}

/// Daemons that know of one output only do not number it.
fn exporter_of(metadata: &MetadataMap) -> usize {
    let id = metadata.get(EXPORTER).and_then(|id| id.to_str().ok());
    id.and_then(|id| id.parse().ok()).unwrap_or(0)
}

fn take_pieces(
    request: Request<Streaming<BytesMessage>>,
    out: impl Future<Output = std::io::Result<Box<dyn Write + Send>>> + Send + 'static,
) -> Answer<BytesMessage> {
    answer(write(request.into_inner(), out))
}

/// Writes all pieces on a thread that may block.
async fn write(
    mut inbound: Streaming<BytesMessage>,
    out: impl Future<Output = std::io::Result<Box<dyn Write + Send>>>,
) -> Result<(), Status> {
    let failed = |error: std::io::Error| Status::aborted(format!("cannot write output: {error}"));
    let mut out = out.await.map_err(failed)?;
    while let Some(message) = inbound.message().await? {
        let written = tokio::task::spawn_blocking(move || {
            out.write_all(&message.data)?;
            Ok(out)
        });
        out = joined(written).await.map_err(failed)?;
    }
    let flushed = tokio::task::spawn_blocking(move || out.flush());
    joined(flushed).await.map_err(failed)
}

async fn joined<T>(task: tokio::task::JoinHandle<std::io::Result<T>>) -> std::io::Result<T> {
    task.await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
}
