//! Secrets, asked for by id.

use bytes::Bytes;

use crate::SessionError;

/// The largest secret that is handed to a build, in bytes (BuildKit's limit).
pub const MAX_SECRET_SIZE: u64 = 500 * 1024;

/// Finds a secret's value.
#[async_trait::async_trait]
pub trait Secrets: Send + Sync {
    /// The value of secret `id`; `None` when the client has no such secret.
    async fn secret(&self, id: &str) -> Result<Option<Bytes>, SessionError>;
}

/// A client without secrets.
#[derive(Debug, Clone, Copy)]
pub struct NoSecrets;

#[async_trait::async_trait]
impl Secrets for NoSecrets {
    async fn secret(&self, _id: &str) -> Result<Option<Bytes>, SessionError> {
        Ok(None)
    }
}
