//! Takes the outputs of a build that the daemon sends.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use futures::StreamExt as _;
use futures::stream::BoxStream;
use kiln_protocol::filesync::BytesMessage;
use kiln_protocol::filesync::file_send_server::FileSend;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::Delivery;
use crate::remote::EXPORTER;

pub(super) struct Deliveries {
    by_exporter: Mutex<BTreeMap<usize, Delivery>>,
}

impl Deliveries {
    pub(super) fn new(exports: BTreeMap<usize, Delivery>) -> Self {
        Self {
            by_exporter: Mutex::new(exports),
        }
    }

    fn take(&self, exporter: usize) -> Result<Delivery, Status> {
        let mut deliveries = self
            .by_exporter
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let delivery = deliveries.remove(&exporter);
        delivery.ok_or_else(|| Status::not_found(format!("exporter {exporter} not found")))
    }
}

#[tonic::async_trait]
impl FileSend for Deliveries {
    type DiffCopyStream = BoxStream<'static, Result<BytesMessage, Status>>;

    async fn diff_copy(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let exporter = exporter_of(request.metadata());
        match self.take(exporter)? {
            Delivery::Stream(out) => {
                let written = write(request.into_inner(), out);
                // The answer is empty and ends, well or not, once everything is in its place.
                let end = futures::stream::once(written)
                    .filter_map(|written| std::future::ready(written.err().map(Err)));
                Ok(Response::new(end.boxed()))
            }
            Delivery::Directory(path) => receive_directory(request, path).await,
        }
    }
}

async fn receive_directory(
    _request: Request<Streaming<BytesMessage>>,
    path: PathBuf,
) -> Result<Response<BoxStream<'static, Result<BytesMessage, Status>>>, Status> {
    Err(Status::unimplemented(format!(
        "{}: receiving directories is not supported yet",
        path.display()
    )))
}

/// Daemons that know of one output only do not number it.
fn exporter_of(metadata: &MetadataMap) -> usize {
    let id = metadata.get(EXPORTER).and_then(|id| id.to_str().ok());
    id.and_then(|id| id.parse().ok()).unwrap_or(0)
}

/// Writes all pieces on a thread that may block.
async fn write(
    mut inbound: Streaming<BytesMessage>,
    mut out: Box<dyn Write + Send>,
) -> Result<(), Status> {
    let failed = |error: std::io::Error| Status::aborted(format!("cannot write output: {error}"));
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
