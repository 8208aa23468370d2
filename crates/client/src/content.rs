//! Blobs of a daemon's content store, such as logs of the history.

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use kiln_protocol::content::ReadContentRequest;

use crate::{Client, ClientError};

impl Client {
    /// The bytes of a blob, in order. Whoever needs to be sure of them
    /// compares their digest.
    pub async fn content(
        &self,
        digest: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + use<>, ClientError> {
        let request = ReadContentRequest {
            digest: digest.to_owned(),
            offset: 0,
            size: 0,
        };
        let client = self.clone();
        let what = "failed to read content";
        let answer = self.content_service().read(request).await;
        let answer = answer.map_err(|status| self.failed(what, status))?;
        let pieces = answer.into_inner().map_ok(|piece| piece.data);
        Ok(pieces.map_err(move |status| client.failed(what, status)))
    }
}
