//! Writing a blob into containerd, from where another attempt has stopped.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kiln_protocol::content::{WriteAction, WriteContentRequest, WriteContentResponse};
use oci_spec::image::Digest;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::{ContainerdError, Content};

/// Bytes of one message.
const PIECE: usize = 1 << 20;
/// Messages that wait for the connection.
const QUEUE: usize = 4;
/// How long to wait for another writer of the same blob before looking again.
const LOCKED: Duration = Duration::from_millis(100);

/// A blob that is here and is to be in containerd.
#[derive(Clone, Debug)]
pub struct BlobToWrite {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
    /// What is to be said of it.
    pub labels: BTreeMap<String, String>,
    /// Its bytes, from the beginning of the file.
    pub file: Arc<File>,
}

/// How an attempt ended.
enum Attempt {
    Done,
    /// Somebody else writes the same.
    Locked,
    /// What was found of an earlier attempt is not the blob's beginning.
    Spoilt,
}

impl Content {
    /// Writes a blob, or completes what was written of it before. One that is there gets the labels. `progress` is
    /// told how many bytes have gone.
    pub async fn write(
        &self,
        blob: &BlobToWrite,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), ContainerdError> {
        let mut is_fresh = false;
        loop {
            if self.info(&blob.digest).await?.is_some() {
                self.set_labels(&blob.digest, &blob.labels).await?;
                progress(blob.size);
                return Ok(());
            }
            match self.attempt(blob, progress).await? {
                Attempt::Done => return Ok(()),
                Attempt::Locked => tokio::time::sleep(LOCKED).await,
                Attempt::Spoilt if is_fresh => {
                    let what = format!("write blob {}", blob.digest);
                    return Err(self.0.malformed(&what, "it forgets no unfinished blob"));
                }
                Attempt::Spoilt => {
                    is_fresh = true;
                    self.abort(&reference(&blob.digest)).await?;
                }
            }
        }
    }

    async fn attempt(
        &self,
        blob: &BlobToWrite,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Attempt, ContainerdError> {
        let what = format!("write blob {}", blob.digest);
        let (messages, receiver) = mpsc::channel(QUEUE);
        // The first message waits in the queue: without one there is no answer.
        let _ = messages.try_send(WriteContentRequest {
            r#ref: reference(&blob.digest),
            ..message(blob, WriteAction::Stat, 0)
        });
        let mut client = self.client();
        let call = client.write(self.0.request(ReceiverStream::new(receiver)));
        let opened = async {
            let mut answers = self.0.ask(&what, call).await?;
            let first = self.next(&what, &mut answers).await?;
            Ok((answers, first))
        };
        let (mut answers, first) = match opened.await {
            Ok(opened) => opened,
            Err(ContainerdError::Refused {
                code: Code::Unavailable,
                ..
            }) => return Ok(Attempt::Locked),
            // The next look finds it.
            Err(error) if error.is_already_exists() => return Ok(Attempt::Locked),
            Err(error) => return Err(error),
        };
        let offset = u64::try_from(first.offset).unwrap_or_default();
        if offset > blob.size {
            return Ok(Attempt::Spoilt);
        }
        let fed = feed(blob, offset, messages, progress);
        let committed = async {
            loop {
                let answer = self.next(&what, &mut answers).await?;
                if answer.action() == WriteAction::Commit {
                    return Ok::<_, ContainerdError>(answer);
                }
            }
        };
        let (fed, committed) = tokio::join!(fed, committed);
        fed?;
        match committed {
            Ok(answer) if answer.digest == blob.digest.to_string() => Ok(Attempt::Done),
            Ok(answer) => Err(self
                .0
                .malformed(&what, format!("it wrote {:?}", answer.digest))),
            Err(error) if error.is_already_exists() => Ok(Attempt::Locked),
            // The digest is wrong: so was what the blob was continued from.
            Err(error) if error.code() == Some(Code::FailedPrecondition) && offset > 0 => {
                tracing::debug!(%error, "an unfinished blob is written anew");
                Ok(Attempt::Spoilt)
            }
            Err(error) => Err(error),
        }
    }

    async fn next(
        &self,
        what: &str,
        answers: &mut Streaming<WriteContentResponse>,
    ) -> Result<WriteContentResponse, ContainerdError> {
        let answer = answers.message().await;
        let answer = answer.map_err(|status| self.0.failed(what, &status))?;
        answer.ok_or_else(|| self.0.malformed(what, "it ended the write"))
    }
}

/// Sends what is missing, or as much as is wanted: a call that ends early says why itself.
async fn feed(
    blob: &BlobToWrite,
    mut offset: u64,
    messages: mpsc::Sender<WriteContentRequest>,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<(), ContainerdError> {
    while offset < blob.size {
        let data = piece(blob, offset).await?;
        let length = data.len() as u64;
        let message = WriteContentRequest {
            data,
            ..message(blob, WriteAction::Write, offset)
        };
        if messages.send(message).await.is_err() {
            return Ok(());
        }
        offset += length;
        progress(offset);
    }
    let end = WriteContentRequest {
        labels: blob.labels.clone(),
        ..message(blob, WriteAction::Commit, offset)
    };
    let _ = messages.send(end).await;
    Ok(())
}

async fn piece(blob: &BlobToWrite, offset: u64) -> Result<Bytes, ContainerdError> {
    let failed = |source| ContainerdError::Read {
        digest: blob.digest.to_string(),
        source,
    };
    let most = usize::try_from(blob.size - offset).unwrap_or(PIECE);
    let (file, length) = (Arc::clone(&blob.file), most.min(PIECE));
    let read = tokio::task::spawn_blocking(move || {
        let mut data = vec![0; length];
        file.read_exact_at(&mut data, offset).map(|()| data)
    });
    let read = read.await.map_err(|error| failed(error.into()))?;
    read.map(Bytes::from).map_err(failed)
}

fn message(blob: &BlobToWrite, action: WriteAction, offset: u64) -> WriteContentRequest {
    let is_write = action == WriteAction::Write;
    WriteContentRequest {
        action: action.into(),
        offset: i64::try_from(offset).unwrap_or(i64::MAX),
        total: if is_write {
            0
        } else {
            i64::try_from(blob.size).unwrap_or(i64::MAX)
        },
        expected: if is_write {
            String::new()
        } else {
            blob.digest.to_string()
        },
        ..WriteContentRequest::default()
    }
}

/// What an unfinished blob is called: the same each time, so that it is continued and not begun twice.
fn reference(digest: &Digest) -> String {
    format!("kiln-{digest}")
}
