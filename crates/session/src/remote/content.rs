//! Stores of a connected client, by containerd's content service.

use futures::StreamExt as _;
use kiln_protocol::content::content_client::ContentClient;
use kiln_protocol::content::{
    AbortRequest, InfoRequest, ReadContentRequest, WriteAction, WriteContentRequest,
    WriteContentResponse,
};
use oci_spec::image::Digest;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::Calls;
use crate::tunnel::{MESSAGE_LIMIT, PIECE};
use crate::{BlobStream, RemoteContent, SessionError, SessionId, headers};

/// Says which of a client's stores is meant.
pub(crate) const STORE: &str = "buildkit-attachable-store-id";

/// Messages that wait for the connection.
const QUEUE: usize = 4;

pub(super) struct Store {
    calls: Calls,
    id: AsciiMetadataValue,
    name: String,
}

impl Store {
    pub(super) fn new(calls: Calls, id: &str) -> Result<Self, SessionError> {
        Ok(Self {
            calls,
            id: headers::value(STORE, id)?,
            name: format!("client's store {id}"),
        })
    }

    fn client(&self) -> Result<ContentClient<Channel>, SessionError> {
        self.calls
            .require("/containerd.services.content.v1.Content/Info")?;
        Ok(ContentClient::new(self.calls.channel()).max_decoding_message_size(MESSAGE_LIMIT))
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(STORE, self.id.clone());
        request
    }

    fn what(&self, digest: &Digest) -> String {
        format!("blob {digest} in {}", self.name)
    }

    /// Forgets what was written of a blob.
    async fn abort(&self, reference: String) -> Result<(), SessionError> {
        let mut client = self.client()?;
        let call = client.abort(self.request(AbortRequest { r#ref: reference }));
        self.calls.ask(&self.name, call).await.map(drop)
    }
}

#[async_trait::async_trait]
impl RemoteContent for Store {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_gone(&self) -> bool {
        self.calls.is_closed()
    }

    async fn size(&self, digest: &Digest) -> Result<Option<u64>, SessionError> {
        let mut client = self.client()?;
        let what = self.what(digest);
        let call = client.info(self.request(InfoRequest {
            digest: digest.to_string(),
        }));
        let info = match self.calls.ask(&what, call).await {
            Ok(response) => response.into_inner().info.unwrap_or_default(),
            Err(SessionError::Refused {
                code: Code::NotFound,
                message,
                ..
            }) if !message.contains("unknown store") => return Ok(None),
            Err(error) => return Err(error),
        };
        let malformed = |reason| SessionError::Malformed { what, reason };
        if info.digest != digest.to_string() {
            return Err(malformed(format!("the client spoke of {:?}", info.digest)));
        }
        let size = u64::try_from(info.size);
        size.map(Some)
            .map_err(|_| malformed(format!("its size cannot be {}", info.size)))
    }

    async fn read(&self, digest: &Digest, offset: u64) -> Result<BlobStream, SessionError> {
        let mut client = self.client()?;
        let what = self.what(digest);
        let call = client.read(self.request(ReadContentRequest {
            digest: digest.to_string(),
            offset: i64::try_from(offset).unwrap_or(i64::MAX),
            size: 0,
        }));
        let answer = self.calls.ask(&what, call).await?;
        let calls = self.calls.clone();
        let pieces = answer.into_inner().map(move |message| match message {
            Ok(message) => Ok(message.data),
            Err(status) => Err(calls.refused(&what, &status)),
        });
        Ok(pieces.boxed())
    }

    async fn write(
        &self,
        digest: &Digest,
        size: u64,
        data: BlobStream,
    ) -> Result<(), SessionError> {
        if self.size(digest).await? == Some(size) {
            return Ok(());
        }
        let mut client = self.client()?;
        let what = self.what(digest);
        // Others may be writing the same blob, so the name is for this time only.
        let reference = format!("kiln-{}", SessionId::random());
        let (messages, receiver) = mpsc::channel(QUEUE);
        let call = send(&mut client, self.request(ReceiverStream::new(receiver)));
        let writing = Writing {
            reference: reference.clone(),
            digest: digest.to_string(),
            size,
        };
        let fed = writing.feed(data, messages);
        let (fed, answered) = tokio::join!(fed, self.calls.ask(&what, call));
        match (fed, answered) {
            (
                _,
                Err(SessionError::Refused {
                    code: Code::AlreadyExists,
                    ..
                }),
            ) => Ok(()),
            (_, Err(error)) => Err(error),
            (Err(error), Ok(_)) => {
                // What is left behind there is no reason to hide the first error.
                if let Err(abort) = self.abort(reference).await {
                    tracing::debug!(error = %abort, "unfinished blob is left with the client");
                }
                Err(error)
            }
            (Ok(()), Ok(last)) => check_commit(&what, digest, size, last),
        }
    }
}

/// Sends all messages; the last answer is what became of them.
async fn send(
    client: &mut ContentClient<Channel>,
    request: Request<ReceiverStream<WriteContentRequest>>,
) -> Result<Option<WriteContentResponse>, Status> {
    let mut answers = client.write(request).await?.into_inner();
    let mut last = None;
    while let Some(answer) = answers.message().await? {
        last = Some(answer);
    }
    Ok(last)
}

fn check_commit(
    what: &str,
    digest: &Digest,
    size: u64,
    last: Option<WriteContentResponse>,
) -> Result<(), SessionError> {
    let malformed = |reason: String| SessionError::Malformed {
        what: what.to_owned(),
        reason,
    };
    match last {
        Some(last) if last.action() != WriteAction::Commit => {
            Err(malformed("the client did not commit it".into()))
        }
        Some(last) if last.offset != size as i64 || last.digest != digest.to_string() => {
            let (found, offset) = (&last.digest, last.offset);
            Err(malformed(format!(
                "the client committed {offset} bytes of {found:?} instead of {size}"
            )))
        }
        Some(_) => Ok(()),
        None => Err(malformed("the client did not answer".into())),
    }
}

/// The messages that write one blob.
struct Writing {
    reference: String,
    digest: String,
    size: u64,
}

impl Writing {
    /// Sends everything, or as much as is wanted: a call that ends early says why itself.
    async fn feed(
        self,
        mut data: BlobStream,
        messages: mpsc::Sender<WriteContentRequest>,
    ) -> Result<(), SessionError> {
        let begin = WriteContentRequest {
            r#ref: self.reference.clone(),
            ..self.message(WriteAction::Stat, 0)
        };
        if messages.send(begin).await.is_err() {
            return Ok(());
        }
        let mut offset = 0;
        while let Some(piece) = data.next().await {
            let mut piece = piece?;
            while !piece.is_empty() {
                let part = piece.split_to(piece.len().min(PIECE));
                let length = part.len() as u64;
                let message = WriteContentRequest {
                    data: part,
                    ..self.message(WriteAction::Write, offset)
                };
                if messages.send(message).await.is_err() {
                    return Ok(());
                }
                offset += length;
            }
        }
        let end = self.message(WriteAction::Commit, offset);
        let _ = messages.send(end).await;
        Ok(())
    }

    fn message(&self, action: WriteAction, offset: u64) -> WriteContentRequest {
        let is_write = action == WriteAction::Write;
        WriteContentRequest {
            action: action.into(),
            offset: offset as i64,
            total: if is_write { 0 } else { self.size as i64 },
            expected: if is_write {
                String::new()
            } else {
                self.digest.clone()
            },
            ..WriteContentRequest::default()
        }
    }
}
