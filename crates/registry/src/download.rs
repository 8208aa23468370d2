//! Pulling blobs: a stream that survives broken connections, and its way into a content store.

use std::io::Write as _;

use bytes::Bytes;
use futures::TryStreamExt as _;
use kiln_store::ContentStore;
use kiln_store::content::ContentError;
use oci_spec::image::{Descriptor, Digest, MediaType};
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Response, StatusCode};
use tokio::io::AsyncRead;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::client::Repository;
use crate::endpoint::{Endpoint, without_secrets};
use crate::error::{RegistryError, TransportError};
use crate::hosts::Capability;
use crate::send::{Persistence, Request};

/// A connection that brought this much counts as a good one.
const GOOD_PROGRESS: u64 = 1 << 20;
/// Pieces on their way from the network to the disk.
const QUEUE: usize = 32;

/// The bytes of a blob as they arrive.
///
/// Broken connections are taken up again where they broke, here or at the next
/// endpoint. The size is checked, the digest is not: that is for the consumer, who
/// hashes anyway. While open it holds one of its host's transfers, so a stream that
/// nobody reads can keep others waiting.
pub struct BlobStream {
    repository: Repository,
    descriptor: Descriptor,
    received: u64,
    connection: Option<Connection>,
    /// The endpoint in use; those before it have failed.
    endpoint: usize,
    failures: u32,
    received_at_failure: u64,
}

struct Connection {
    response: Response,
    /// Bytes to drop, because the other side ignored the range.
    skip: u64,
    url: String,
    /// Documents need none: they are small, and what waits for them is waiting for more.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Repository {
    /// A stream of a blob. Nothing is requested before the first piece is.
    pub fn blob(&self, descriptor: &Descriptor) -> BlobStream {
        self.blob_from(descriptor, 0)
    }

    /// What a server says of a blob of which only the digest is known; `None` if nobody has it. Begins to fetch it:
    /// where servers lead to for that seldom answers to anything else.
    pub async fn describe_blob(
        &self,
        digest: &Digest,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let mut failure = None;
        let mut endpoints = self.serving(Capability::Pull).into_iter().peekable();
        if endpoints.peek().is_none() {
            return Err(self.nowhere(Capability::Pull));
        }
        while let Some(endpoint) = endpoints.next() {
            let url = endpoint.url(&format!("blobs/{digest}"), &[])?;
            let mut request = Request::get(self, endpoint, url);
            request.persistence = Persistence::before(endpoints.peek());
            match self.send_ok(&request).await {
                Ok(response) => {
                    let size = response.content_length();
                    let size = size.ok_or_else(|| RegistryError::Protocol {
                        url: without_secrets(&request.url),
                        reason: "the size of the blob is not told".to_owned(),
                    })?;
                    let kind = MediaType::Other("application/octet-stream".to_owned());
                    return Ok(Some(Descriptor::new(kind, size, digest.clone())));
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => {
                    tracing::debug!(host = endpoint.host, %error, "cannot get the blob here");
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(None), Err)
    }

    fn blob_from(&self, descriptor: &Descriptor, endpoint: usize) -> BlobStream {
        BlobStream {
            repository: self.clone(),
            descriptor: descriptor.clone(),
            received: 0,
            connection: None,
            endpoint,
            failures: 0,
            received_at_failure: 0,
        }
    }

    /// Brings a blob into a content store, verified. Does nothing if it is there.
    ///
    /// `progress` is told the number of bytes so far. A mirror that sends wrong content
    /// twice is passed over for the next one. Dropping the future stops the transfer and
    /// leaves nothing behind.
    pub async fn fetch_blob(
        &self,
        descriptor: &Descriptor,
        content: &ContentStore,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        if exists(content, descriptor).await? {
            progress(descriptor.size());
            return Ok(());
        }
        let (mut endpoint, mut wrong_at) = (0, None);
        loop {
            let mut stream = self.blob_from(descriptor, endpoint);
            match stream.save(content, progress).await {
                Err(error) if error.is_wrong_content() => {
                    tracing::debug!(%error, "not what was asked for");
                    // Once may be an accident on the way, twice is what this endpoint has.
                    let is_again = wrong_at.replace(stream.endpoint) == Some(stream.endpoint);
                    endpoint = stream.endpoint + usize::from(is_again);
                    if endpoint >= self.serving(Capability::Pull).len() {
                        return Err(error);
                    }
                }
                outcome => return outcome,
            }
        }
    }
}

impl BlobStream {
    /// The next piece; `None` at the end, when exactly the descriptor's size has come.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            if self.received == self.descriptor.size() {
                self.check_end().await?;
                return Ok(None);
            }
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let idle = self.repository.shared.timeouts.idle;
            let piece = match tokio::time::timeout(idle, connection.response.chunk()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => {
                    let expected = self.descriptor.size();
                    self.broken(
                        &connection,
                        TransportError::Truncated {
                            received: self.received,
                            expected,
                        },
                    )
                    .await?;
                    continue;
                }
                Ok(Err(error)) => {
                    self.broken(&connection, TransportError::Http(error.without_url()))
                        .await?;
                    continue;
                }
                Err(_) => {
                    self.broken(&connection, TransportError::Timeout(idle))
                        .await?;
                    continue;
                }
            };
            let skipped = (piece.len() as u64).min(connection.skip);
            connection.skip -= skipped;
            self.connection = Some(connection);
            let piece = piece.slice(skipped as usize..);
            if piece.is_empty() {
                continue;
            }
            self.received += piece.len() as u64;
            if self.received > self.descriptor.size() {
                return Err(self.size_mismatch(self.received));
            }
            return Ok(Some(piece));
        }
    }

    /// The stream in the form that readers of the runtime take.
    pub fn into_reader(self) -> Box<dyn AsyncRead + Send + Unpin> {
        let pieces = futures::stream::try_unfold(self, |mut stream| async move {
            Ok::<_, RegistryError>(stream.next().await?.map(|piece| (piece, stream)))
        });
        let pieces = Box::pin(pieces.map_err(std::io::Error::other));
        Box::new(tokio_util::io::StreamReader::new(pieces))
    }

    fn what(&self) -> String {
        format!("{}@{}", self.repository.name, self.descriptor.digest())
    }

    fn host(&self) -> String {
        let endpoints = self.repository.serving(Capability::Pull);
        let host = endpoints.get(self.endpoint).map(|endpoint| &endpoint.host);
        host.cloned().unwrap_or_default()
    }

    fn size_mismatch(&self, actual: u64) -> RegistryError {
        RegistryError::SizeMismatch {
            what: self.what(),
            host: self.host(),
            expected: self.descriptor.size(),
            actual,
        }
    }

    /// Nothing may follow the last byte.
    async fn check_end(&mut self) -> Result<(), RegistryError> {
        let Some(mut connection) = self.connection.take() else {
            return Ok(());
        };
        let idle = self.repository.shared.timeouts.idle;
        match tokio::time::timeout(idle, connection.response.chunk()).await {
            Ok(Ok(Some(more))) => Err(self.size_mismatch(self.received + more.len() as u64)),
            _ => Ok(()),
        }
    }

    /// Waits before the next attempt, or gives up.
    async fn broken(
        &mut self,
        connection: &Connection,
        source: TransportError,
    ) -> Result<(), RegistryError> {
        if self.received - self.received_at_failure >= GOOD_PROGRESS {
            self.failures = 0;
        }
        self.failures += 1;
        self.received_at_failure = self.received;
        let error = RegistryError::Transport {
            method: "GET".to_owned(),
            url: connection.url.clone(),
            source,
        };
        let retry = self.repository.shared.retry;
        if self.failures >= retry.attempts {
            return Err(error);
        }
        tracing::debug!(%error, received = self.received, "resuming");
        tokio::time::sleep(retry.pause(self.failures)).await;
        Ok(())
    }

    /// Opens the rest of the blob at the first endpoint that gives it.
    async fn connect(&mut self) -> Result<Connection, RegistryError> {
        let mut first: Option<RegistryError> = None;
        let repository = self.repository.clone();
        let endpoints = repository.serving(Capability::Pull);
        let Some(last) = endpoints.len().checked_sub(1) else {
            return Err(repository.nowhere(Capability::Pull));
        };
        while let Some(endpoint) = endpoints.get(self.endpoint) {
            let persistence = Persistence::before(endpoints.get(self.endpoint + 1));
            match self.connect_at(endpoint, persistence).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    tracing::debug!(host = endpoint.host, %error, "cannot get the blob here");
                    first.get_or_insert(error);
                    self.endpoint += 1;
                }
            }
        }
        self.endpoint = last;
        Err(match first {
            Some(error) if !error.is_not_found() => error,
            _ => RegistryError::NotFound {
                what: format!(
                    "could not fetch content descriptor {} ({}) from remote",
                    self.descriptor.digest(),
                    self.descriptor.media_type()
                ),
            },
        })
    }

    async fn connect_at(
        &self,
        endpoint: &Endpoint,
        persistence: Persistence,
    ) -> Result<Connection, RegistryError> {
        let repository = &self.repository;
        let permit = match self.descriptor.media_type().as_ref().ends_with("+json") {
            true => None,
            false => Some(repository.shared.transfer(&endpoint.host).await?),
        };
        let url = endpoint.url(&format!("blobs/{}", self.descriptor.digest()), &[])?;
        let mut request = Request::get(repository, endpoint, url);
        request.persistence = persistence;
        if self.received > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", self.received))
        {
            request.headers.insert(RANGE, range);
        }
        let response = repository.send_ok(&request).await?;
        let skip = if response.status() == StatusCode::PARTIAL_CONTENT {
            0
        } else {
            self.received
        };
        let connection = Connection {
            skip,
            url: without_secrets(&request.url),
            response,
            _permit: permit,
        };
        self.check_start(&connection)?;
        Ok(connection)
    }

    /// Finds out from the headers that something else is coming, before it does.
    fn check_start(&self, connection: &Connection) -> Result<(), RegistryError> {
        let headers = connection.response.headers();
        if connection.response.status() == StatusCode::PARTIAL_CONTENT {
            let range = headers
                .get(CONTENT_RANGE)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            if !range.starts_with(&format!("bytes {}-", self.received)) {
                return Err(RegistryError::Protocol {
                    url: connection.url.clone(),
                    reason: format!("unhandled content range in response: {range}"),
                });
            }
        }
        let expected = self.descriptor.size() - self.received + connection.skip;
        match connection.response.content_length() {
            Some(announced) if announced != expected => {
                Err(self.size_mismatch(announced + self.received - connection.skip))
            }
            _ => Ok(()),
        }
    }

    /// Writes the whole blob on a thread that may block.
    async fn save(
        &mut self,
        content: &ContentStore,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let (pieces, queue) = mpsc::channel(QUEUE);
        let writing = tokio::task::spawn_blocking({
            let (content, descriptor) = (content.clone(), self.descriptor.clone());
            move || write_blob(&content, &descriptor, queue)
        });
        let outcome = self.forward(&pieces, progress).await;
        if outcome.is_ok() {
            // A full stop: without it the writer takes the end of the queue for a failure.
            let _ = pieces.send(Piece::End).await;
        }
        drop(pieces);
        let written = writing
            .await
            .map_err(|error| RegistryError::Store(error.into()))?;
        match (outcome, written) {
            (Err(error), _) => Err(error),
            (Ok(()), Ok(())) => Ok(()),
            (Ok(()), Err(ContentError::DigestMismatch { expected, found })) => {
                Err(RegistryError::DigestMismatch {
                    what: self.what(),
                    host: self.host(),
                    expected,
                    actual: found.to_string(),
                })
            }
            (Ok(()), Err(error)) => Err(RegistryError::Store(error.into())),
        }
    }

    async fn forward(
        &mut self,
        pieces: &mpsc::Sender<Piece>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        while let Some(piece) = self.next().await? {
            // The writer stops listening only when it has failed, and then says why itself.
            if pieces.send(Piece::Data(piece)).await.is_err() {
                return Ok(());
            }
            progress(self.received);
        }
        Ok(())
    }
}

enum Piece {
    Data(Bytes),
    End,
}

fn write_blob(
    content: &ContentStore,
    descriptor: &Descriptor,
    mut queue: mpsc::Receiver<Piece>,
) -> Result<(), ContentError> {
    let mut writer = content.writer(Some((descriptor.digest(), Some(descriptor.size()))))?;
    while let Some(piece) = queue.blocking_recv() {
        match piece {
            Piece::Data(bytes) => writer
                .write_all(&bytes)
                .map_err(|error| content_error(content, descriptor, error))?,
            Piece::End => return writer.commit().map(|_| ()),
        }
    }
    Ok(())
}

fn content_error(
    content: &ContentStore,
    descriptor: &Descriptor,
    error: std::io::Error,
) -> ContentError {
    let path = content.path(descriptor.digest());
    ContentError::Disk(kiln_store::disk::DiskError::new("write", &path, error))
}

async fn exists(content: &ContentStore, descriptor: &Descriptor) -> Result<bool, RegistryError> {
    let (content, digest) = (content.clone(), descriptor.digest().clone());
    let found = tokio::task::spawn_blocking(move || content.exists(&digest)).await;
    found
        .map_err(|error| RegistryError::Store(error.into()))?
        .map_err(|error| RegistryError::Store(error.into()))
}
