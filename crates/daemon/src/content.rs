//! The content service: blobs of the store for reading. Clients find the logs,
//! traces, attestations and manifests of build records here.

use std::fs::{File, Metadata};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use kiln_protocol::content::content_server::{self, ContentServer};
use kiln_protocol::content::{
    AbortRequest, DeleteContentRequest, Info, InfoRequest, InfoResponse, ListContentRequest,
    ListContentResponse, ListStatusesRequest, ListStatusesResponse, ReadContentRequest,
    ReadContentResponse, StatusRequest, StatusResponse, UpdateRequest, UpdateResponse,
    WriteContentRequest, WriteContentResponse,
};
use kiln_store::content::ContentError;
use kiln_store::filter::Filters;
use kiln_store::{ContentStore, StoreError};
use oci_spec::image::Digest;
use prost_types::Timestamp;
use tonic::{Request, Response, Status, Streaming};

use crate::control::{Answers, Control};
use crate::serve::MAX_MESSAGE;

/// Bytes of a blob in one message.
const CHUNK: u64 = 1 << 20;

/// Blobs told of in one message.
const BATCH: usize = 100;

/// The content service.
pub(crate) fn service(control: &Arc<Control>) -> ContentServer<Content> {
    let content = Content(control.engine.content().clone());
    ContentServer::new(content).max_decoding_message_size(MAX_MESSAGE)
}

/// Reads blobs. Which namespace a client names makes no difference: there is
/// one.
pub(crate) struct Content(ContentStore);

#[async_trait::async_trait]
impl content_server::Content for Content {
    type ListStream = Answers<ListContentResponse>;
    type ReadStream = Answers<ReadContentResponse>;
    type WriteStream = Answers<WriteContentResponse>;

    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let digest = digest(&request.into_inner().digest)?;
        let content = self.0.clone();
        let info = blocking(move || {
            let file = content.open(&digest).map_err(status)?;
            let metadata = file.metadata().map_err(failed(&digest))?;
            Ok(info(&digest, &metadata))
        });
        let info = Some(info.await?);
        Ok(Response::new(InfoResponse { info }))
    }

    async fn list(
        &self,
        request: Request<ListContentRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let filters = Filters::parse(&request.into_inner().filters);
        let filters = filters.map_err(|error| match error {
            StoreError::Filter { .. } => Status::invalid_argument(error.to_string()),
            error => Status::internal(kiln_engine::error_chain(&error)),
        })?;
        let content = self.0.clone();
        let found = blocking(move || list(&content, &filters)).await?;
        let batches: Vec<_> = found
            .chunks(BATCH)
            .map(|batch| {
                let info = batch.to_vec();
                Ok(ListContentResponse { info })
            })
            .collect();
        Ok(Response::new(stream::iter(batches).boxed()))
    }

    async fn read(
        &self,
        request: Request<ReadContentRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        let digest = digest(&request.digest)?;
        let content = self.0.clone();
        let reading = blocking(move || Reading::begin(&content, digest, &request)).await?;
        let chunks = stream::try_unfold(reading, |mut reading| {
            blocking(move || Ok(reading.next()?.map(|chunk| (chunk, reading))))
        });
        Ok(Response::new(chunks.boxed()))
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        let name = request.into_inner().r#ref;
        Err(Status::not_found(format!("no upload {name:?}: not found")))
    }

    async fn list_statuses(
        &self,
        _request: Request<ListStatusesRequest>,
    ) -> Result<Response<ListStatusesResponse>, Status> {
        Ok(Response::new(ListStatusesResponse::default()))
    }

    async fn update(
        &self,
        _request: Request<UpdateRequest>,
    ) -> Result<Response<UpdateResponse>, Status> {
        Err(read_only())
    }

    async fn delete(
        &self,
        _request: Request<DeleteContentRequest>,
    ) -> Result<Response<()>, Status> {
        Err(read_only())
    }

    async fn write(
        &self,
        _request: Request<Streaming<WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        Err(read_only())
    }

    async fn abort(&self, _request: Request<AbortRequest>) -> Result<Response<()>, Status> {
        Err(read_only())
    }
}

fn list(content: &ContentStore, filters: &Filters) -> Result<Vec<Info>, Status> {
    let mut found = Vec::new();
    for (digest, path) in content.list().map_err(status)? {
        // What is gone by now is not told of.
        let Ok(metadata) = std::fs::metadata(&path) else {
            continue;
        };
        let size = metadata.len().to_string();
        let is_wanted = filters.matches(|field| match field {
            "digest" => Some(digest.to_string()),
            "size" => Some(size.clone()),
            _ => None,
        });
        if is_wanted {
            found.push(info(&digest, &metadata));
        }
    }
    Ok(found)
}

/// A blob on its way to a client.
struct Reading {
    digest: Digest,
    file: File,
    offset: u64,
    end: u64,
}

impl Reading {
    fn begin(
        content: &ContentStore,
        digest: Digest,
        request: &ReadContentRequest,
    ) -> Result<Self, Status> {
        let file = content.open(&digest).map_err(status)?;
        let size = file.metadata().map_err(failed(&digest))?.len();
        let bad = |text: &str| Status::invalid_argument(format!("{text} in a read of {digest}"));
        let offset = u64::try_from(request.offset).map_err(|_| bad("negative offset"))?;
        let wanted = u64::try_from(request.size).map_err(|_| bad("negative size"))?;
        if offset > size {
            let text = format!("read past object length {size} bytes");
            return Err(Status::out_of_range(text));
        }
        let end = match wanted {
            0 => size,
            wanted => size.min(offset.saturating_add(wanted)),
        };
        Ok(Self {
            digest,
            file,
            offset,
            end,
        })
    }

    fn next(&mut self) -> Result<Option<ReadContentResponse>, Status> {
        let size = CHUNK.min(self.end - self.offset);
        if size == 0 {
            return Ok(None);
        }
        let mut data = vec![0; size as usize];
        let read = self.file.read_exact_at(&mut data, self.offset);
        read.map_err(failed(&self.digest))?;
        let offset = i64::try_from(self.offset).unwrap_or(i64::MAX);
        self.offset += size;
        Ok(Some(ReadContentResponse {
            offset,
            data: Bytes::from(data),
        }))
    }
}

fn info(digest: &Digest, metadata: &Metadata) -> Info {
    let modified = metadata.modified().ok().map(Timestamp::from);
    Info {
        digest: digest.to_string(),
        size: i64::try_from(metadata.len()).unwrap_or(i64::MAX),
        created_at: modified,
        updated_at: modified,
        ..Info::default()
    }
}

fn digest(text: &str) -> Result<Digest, Status> {
    Digest::try_from(text)
        .map_err(|error| Status::invalid_argument(format!("{text:?} is no digest: {error}")))
}

fn status(error: ContentError) -> Status {
    match &error {
        ContentError::NotFound { digest } => {
            Status::not_found(format!("content {digest}: not found"))
        }
        _ => Status::internal(kiln_engine::error_chain(&error)),
    }
}

fn failed(digest: &Digest) -> impl Fn(std::io::Error) -> Status {
    move |error| Status::internal(format!("cannot read {digest}: {error}"))
}

fn read_only() -> Status {
    Status::unknown("read-only content store")
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let task = tokio::task::spawn_blocking(work);
    task.await
        .map_err(|_| Status::unavailable("the build daemon is shutting down"))?
}
