//! containerd's blobs.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use kiln_protocol::content::content_client::ContentClient;
use kiln_protocol::content::{
    AbortRequest, DeleteContentRequest, Info, InfoRequest, ListContentRequest, ReadContentRequest,
    UpdateRequest,
};
use oci_spec::image::Digest;
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;
use tonic::transport::Channel;

use crate::connection::MESSAGE_LIMIT;
use crate::{Containerd, ContainerdError};

/// A blob's bytes as they come.
pub type BlobStream = BoxStream<'static, Result<Bytes, ContainerdError>>;

/// What is known of one blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
    /// What is said of it; references to other blobs and to snapshots are labels.
    pub labels: BTreeMap<String, String>,
}

/// The blobs of a namespace.
#[derive(Clone, Debug)]
pub struct Content(pub(crate) Containerd);

impl Content {
    pub(crate) fn new(containerd: Containerd) -> Self {
        Self(containerd)
    }

    pub(crate) fn client(&self) -> ContentClient<Channel> {
        ContentClient::new(self.0.channel.clone()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// What is known of a blob; `None` if it is not there.
    pub async fn info(&self, digest: &Digest) -> Result<Option<BlobInfo>, ContainerdError> {
        let what = format!("look up blob {digest}");
        let request = self.0.request(InfoRequest {
            digest: digest.to_string(),
        });
        match self.0.ask(&what, self.client().info(request)).await {
            Ok(answer) => self.read_info(&what, answer.info).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The blobs that match any of the filters (`labels."x"==y`, `digest==…`); all if there is none.
    pub async fn list(&self, filters: &[&str]) -> Result<Vec<BlobInfo>, ContainerdError> {
        const WHAT: &str = "list blobs";
        let request = self.0.request(ListContentRequest {
            filters: filters.iter().map(|&filter| filter.to_owned()).collect(),
        });
        let mut answers = self.0.ask(WHAT, self.client().list(request)).await?;
        let mut all = Vec::new();
        while let Some(part) = answers
            .message()
            .await
            .map_err(|status| self.0.failed(WHAT, &status))?
        {
            for info in part.info {
                all.push(self.read_info(WHAT, Some(info))?);
            }
        }
        Ok(all)
    }

    /// A blob's bytes from an offset on.
    pub async fn read(&self, digest: &Digest, offset: u64) -> Result<BlobStream, ContainerdError> {
        let what = format!("read blob {digest}");
        let request = self.0.request(ReadContentRequest {
            digest: digest.to_string(),
            offset: i64::try_from(offset).unwrap_or(i64::MAX),
            size: 0,
        });
        let answers = self.0.ask(&what, self.client().read(request)).await?;
        let containerd = self.0.clone();
        let pieces = answers.map(move |piece| match piece {
            Ok(piece) => Ok(piece.data),
            Err(status) => Err(containerd.failed(&what, &status)),
        });
        Ok(pieces.boxed())
    }

    /// The same as a reader.
    pub async fn reader(
        &self,
        digest: &Digest,
    ) -> Result<Box<dyn AsyncRead + Send + Unpin>, ContainerdError> {
        let pieces = self.read(digest, 0).await?;
        let pieces = pieces.map_err(std::io::Error::other);
        Ok(Box::new(StreamReader::new(pieces)))
    }

    /// All of a blob, which must not be longer than `limit`.
    pub async fn read_all(&self, digest: &Digest, limit: usize) -> Result<Bytes, ContainerdError> {
        let mut pieces = self.read(digest, 0).await?;
        let mut all = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            all.extend_from_slice(&piece?);
            if all.len() > limit {
                let what = format!("read blob {digest}");
                let reason = format!("it is longer than {limit} bytes");
                return Err(self.0.malformed(&what, reason));
            }
        }
        Ok(all.freeze())
    }

    /// Sets labels of a blob; those that are not named stay.
    pub async fn set_labels(
        &self,
        digest: &Digest,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), ContainerdError> {
        if labels.is_empty() {
            return Ok(());
        }
        let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
        let request = self.0.request(UpdateRequest {
            info: Some(Info {
                digest: digest.to_string(),
                labels: labels.clone(),
                ..Info::default()
            }),
            update_mask: Some(prost_types::FieldMask { paths }),
        });
        let what = format!("label blob {digest}");
        self.0.ask(&what, self.client().update(request)).await?;
        Ok(())
    }

    /// Deletes a blob, whether or not something refers to it.
    pub async fn delete(&self, digest: &Digest) -> Result<(), ContainerdError> {
        let request = self.0.request(DeleteContentRequest {
            digest: digest.to_string(),
        });
        let what = format!("delete blob {digest}");
        self.0.ask(&what, self.client().delete(request)).await
    }

    /// Forgets what was written of a blob under a name.
    pub(crate) async fn abort(&self, reference: &str) -> Result<(), ContainerdError> {
        let request = self.0.request(AbortRequest {
            r#ref: reference.to_owned(),
        });
        let what = format!("give up writing {reference}");
        match self.0.ask(&what, self.client().abort(request)).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    fn read_info(&self, what: &str, info: Option<Info>) -> Result<BlobInfo, ContainerdError> {
        let info = info.unwrap_or_default();
        let digest = info
            .digest
            .parse()
            .map_err(|_| self.0.malformed(what, format!("digest {:?}", info.digest)))?;
        let size = u64::try_from(info.size)
            .map_err(|_| self.0.malformed(what, format!("size {}", info.size)))?;
        Ok(BlobInfo {
            digest,
            size,
            labels: info.labels,
        })
    }
}
