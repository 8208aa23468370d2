//! Lends OCI layout directories as containerd's content service, and says by the same which layers others have.

mod blobs;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use kiln_protocol::content;
use kiln_protocol::content::content_server;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use blobs::{Access, Blobs};

use super::Delivery;
use crate::remote::STORE;
use crate::{ImageReceiver, receiver};

/// Messages that wait for the connection.
const QUEUE: usize = 4;

/// Infos that are sent at once.
const LIST: usize = 100;

/// What other layouts may be written to; layouts that a build uses as sources may not.
const SOURCES: &str = "oci:";

type Answers<T> = BoxStream<'static, Result<T, Status>>;

pub(super) struct Stores {
    directories: BTreeMap<String, Blobs>,
    receivers: Receivers,
}

/// Receivers of outputs by the ids of the stores in which their layers are looked up.
pub(super) type Receivers = BTreeMap<String, Arc<dyn ImageReceiver>>;

/// The receivers among the outputs.
pub(super) fn receivers(exports: &BTreeMap<usize, Delivery>) -> Receivers {
    let receivers = exports.iter().filter_map(|(exporter, delivery)| {
        let Delivery::Receiver(found) = delivery else {
            return None;
        };
        Some((receiver::store(*exporter), Arc::clone(found)))
    });
    receivers.collect()
}

impl Stores {
    pub(super) fn new(directories: BTreeMap<String, PathBuf>, receivers: Receivers) -> Self {
        let stores = directories.into_iter().map(|(id, directory)| {
            let access = match id.starts_with(SOURCES) {
                true => Access::Read,
                false => Access::Write,
            };
            (id, Blobs { directory, access })
        });
        Self {
            directories: stores.collect(),
            receivers,
        }
    }

    fn choose(&self, metadata: &MetadataMap) -> Result<Blobs, Status> {
        let id = store_of(metadata)?;
        let store = self.directories.get(id).cloned();
        store.ok_or_else(|| Status::not_found(format!("unknown store {id}: not found")))
    }
}

/// The store that a call is about.
fn store_of(metadata: &MetadataMap) -> Result<&str, Status> {
    let id = metadata.get(STORE).and_then(|id| id.to_str().ok());
    id.ok_or_else(|| {
        Status::invalid_argument(format!(
            "request lacks metadata {STORE:?}: invalid argument"
        ))
    })
}

/// Whether a receiver has a layer, as a blob whose size nobody knows.
async fn layer_of(
    receiver: &dyn ImageReceiver,
    digest: &str,
) -> Result<Response<content::InfoResponse>, Status> {
    let name = blobs::parse(digest)?;
    if !receiver.has_layer(&name).await? {
        return Err(blobs::not_found(&name));
    }
    let info = blobs::info(name.to_string(), 0);
    Ok(Response::new(content::InfoResponse { info: Some(info) }))
}

/// Runs disk work off the asynchronous threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let task = tokio::task::spawn_blocking(work).await;
    task.unwrap_or_else(|error| Err(Status::internal(error.to_string())))
}

#[tonic::async_trait]
impl content_server::Content for Stores {
    type ListStream = Answers<content::ListContentResponse>;
    type ReadStream = Answers<content::ReadContentResponse>;
    type WriteStream = Answers<content::WriteContentResponse>;

    async fn info(
        &self,
        request: Request<content::InfoRequest>,
    ) -> Result<Response<content::InfoResponse>, Status> {
        if let Some(receiver) = self.receivers.get(store_of(request.metadata())?) {
            return layer_of(&**receiver, &request.get_ref().digest).await;
        }
        let store = self.choose(request.metadata())?;
        let digest = request.into_inner().digest;
        let info = blocking(move || store.info(&blobs::parse(&digest)?)).await?;
        Ok(Response::new(content::InfoResponse { info: Some(info) }))
    }

    async fn read(
        &self,
        request: Request<content::ReadContentRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let store = self.choose(request.metadata())?;
        let wanted = request.into_inner();
        let part = blocking(move || store.open(&wanted)).await?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::task::spawn_blocking(move || part.send(&sender));
        Ok(Response::new(ReceiverStream::new(receiver).boxed()))
    }

    async fn list(
        &self,
        request: Request<content::ListContentRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let store = self.choose(request.metadata())?;
        if !request.get_ref().filters.is_empty() {
            return Err(Status::unimplemented("filters of blobs are not supported"));
        }
        let infos = blocking(move || store.list()).await?;
        let blocks: Vec<_> = infos
            .chunks(LIST)
            .map(|block| {
                let info = block.to_vec();
                Ok(content::ListContentResponse { info })
            })
            .collect();
        Ok(Response::new(futures::stream::iter(blocks).boxed()))
    }

    async fn write(
        &self,
        request: Request<Streaming<content::WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let store = self.choose(request.metadata())?;
        store.must_be_writable()?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(write::serve(store, request.into_inner(), sender));
        Ok(Response::new(ReceiverStream::new(receiver).boxed()))
    }

    // What is being written is known to its own call only, which ends it.

    async fn abort(&self, request: Request<content::AbortRequest>) -> Result<Response<()>, Status> {
        self.choose(request.metadata())?;
        Ok(Response::new(()))
    }

    async fn status(
        &self,
        request: Request<content::StatusRequest>,
    ) -> Result<Response<content::StatusResponse>, Status> {
        self.choose(request.metadata())?;
        let reference = &request.get_ref().r#ref;
        Err(Status::not_found(format!("ref {reference:?}: not found")))
    }

    async fn list_statuses(
        &self,
        request: Request<content::ListStatusesRequest>,
    ) -> Result<Response<content::ListStatusesResponse>, Status> {
        self.choose(request.metadata())?;
        Ok(Response::new(content::ListStatusesResponse::default()))
    }

    // A build adds to a client's directory; it has no business with what is there.

    async fn update(
        &self,
        request: Request<content::UpdateRequest>,
    ) -> Result<Response<content::UpdateResponse>, Status> {
        self.choose(request.metadata())?;
        Err(Status::failed_precondition(
            "update not supported on immutable content store",
        ))
    }

    async fn delete(
        &self,
        request: Request<content::DeleteContentRequest>,
    ) -> Result<Response<()>, Status> {
        self.choose(request.metadata())?;
        Err(Status::permission_denied(
            "the client does not let builds remove blobs of its directories",
        ))
    }
}
