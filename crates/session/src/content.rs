//! Blobs in a store of a client on another machine.

use std::io;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use oci_spec::image::Digest;
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::SessionError;

/// What is read of a file at once.
const READ: usize = 1 << 20;

/// The bytes of a blob on their way.
pub type BlobStream = BoxStream<'static, Result<Bytes, SessionError>>;

/// One of a client's stores: an OCI layout that it lends, a cache, or a place for an output.
#[async_trait::async_trait]
pub trait RemoteContent: Send + Sync {
    /// What to call it in errors.
    fn name(&self) -> &str;

    /// Whether the client has left: nothing can be had any more.
    fn is_gone(&self) -> bool;

    /// The size of a blob; `None` if it is not there.
    async fn size(&self, digest: &Digest) -> Result<Option<u64>, SessionError>;

    /// A blob's bytes from an offset on. Whether they are right is for the reader to check.
    async fn read(&self, digest: &Digest, offset: u64) -> Result<BlobStream, SessionError>;

    /// Puts a blob of this size into the store, which checks it. A blob that is there
    /// already is left alone, and `data` unread.
    async fn write(&self, digest: &Digest, size: u64, data: BlobStream)
    -> Result<(), SessionError>;
}

/// Reads a blob of at most `limit` bytes as a whole, as it comes.
pub async fn read_blob(
    store: &dyn RemoteContent,
    digest: &Digest,
    limit: u64,
) -> Result<Vec<u8>, SessionError> {
    let mut stream = store.read(digest, 0).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.try_next().await? {
        if (bytes.len() + piece.len()) as u64 > limit {
            return Err(SessionError::Malformed {
                what: format!("blob {digest} in {}", store.name()),
                reason: format!("it is larger than {limit} bytes"),
            });
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// The bytes of a file, from where it is.
pub fn stream_of_file(file: std::fs::File) -> BlobStream {
    let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(file), READ);
    pieces
        .map_err(|error| SessionError::Provider {
            what: "blob".into(),
            message: error.to_string(),
        })
        .boxed()
}

/// Bytes at hand.
pub fn stream_of_bytes(bytes: Bytes) -> BlobStream {
    futures::stream::once(std::future::ready(Ok(bytes))).boxed()
}

/// A stream as a reader.
pub fn reader_of(stream: BlobStream) -> Box<dyn AsyncRead + Send + Unpin> {
    Box::new(StreamReader::new(stream.map_err(io::Error::other)))
}

/// The id of the store for an output in form of a layout, for the exporter with this number
/// among those whose output has that form. The first one's is what the field's clients and
/// daemons know; they have only one.
pub fn export_store(number: usize) -> String {
    match number {
        0 => "export".to_owned(),
        number => format!("export:{number}"),
    }
}
