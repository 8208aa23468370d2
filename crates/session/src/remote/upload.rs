//! Bodies that the client has for URLs, such as a context from its standard input.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use kiln_protocol::upload::upload_client::UploadClient;
use tonic::Request;

use super::Calls;
use crate::tunnel::MESSAGE_LIMIT;
use crate::{SessionError, headers};

/// The URL's path, whose last part names the body, and its host.
pub(crate) const PATH: &str = "urlpath";
pub(crate) const HOST: &str = "urlhost";

pub(super) async fn pull(
    calls: &Calls,
    host: &str,
    path: &str,
) -> Result<impl Stream<Item = Result<Bytes, SessionError>> + Send + 'static + use<>, SessionError>
{
    calls.require("/moby.upload.v1.Upload/Pull")?;
    let mut request = Request::new(futures::stream::empty());
    for (key, text) in [(HOST, host), (PATH, path)] {
        request
            .metadata_mut()
            .insert(key, headers::value(key, text)?);
    }
    let what = format!("upload of http://{host}{path}");
    let mut client = UploadClient::new(calls.channel()).max_decoding_message_size(MESSAGE_LIMIT);
    let answer = calls.ask(&what, client.pull(request)).await?;
    let calls = calls.clone();
    let pieces = answer.into_inner().map(move |message| match message {
        Ok(message) => Ok(message.data),
        Err(status) => Err(calls.refused(&what, &status)),
    });
    Ok(pieces)
}
