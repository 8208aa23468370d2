//! Secrets of a connected client.

use bytes::Bytes;
use kiln_protocol::secrets::GetSecretRequest;
use kiln_protocol::secrets::secrets_client::SecretsClient;
use tonic::Code;

use super::Calls;
use crate::tunnel::MESSAGE_LIMIT;
use crate::{MAX_SECRET_SIZE, Secrets, SessionError};

const GET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";

pub(super) struct RemoteSecrets(pub(super) Calls);

#[async_trait::async_trait]
impl Secrets for RemoteSecrets {
    async fn secret(&self, id: &str) -> Result<Option<Bytes>, SessionError> {
        if !self.0.serves(GET) {
            return Ok(None);
        }
        let mut client =
            SecretsClient::new(self.0.channel()).max_decoding_message_size(MESSAGE_LIMIT);
        let request = GetSecretRequest {
            id: id.to_owned(),
            ..GetSecretRequest::default()
        };
        let call = client.get_secret(request);
        let data = match self.0.ask(&format!("secret {id}"), call).await {
            Ok(response) => response.into_inner().data,
            Err(SessionError::Refused {
                code: Code::NotFound | Code::Unimplemented,
                ..
            }) => return Ok(None),
            Err(error) => return Err(error),
        };
        check_size(id, data).map(Some)
    }
}

/// Passes on a secret that is not too large.
pub(crate) fn check_size(id: &str, data: Bytes) -> Result<Bytes, SessionError> {
    let size = data.len() as u64;
    if size > MAX_SECRET_SIZE {
        return Err(SessionError::SecretTooBig {
            id: id.to_owned(),
            size,
            limit: MAX_SECRET_SIZE,
        });
    }
    Ok(data)
}
