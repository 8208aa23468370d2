//! SSH agents (or raw sockets) forwarded into steps.

use std::path::PathBuf;

use crate::SessionError;

/// A socket on this machine that speaks for a forwarded agent. Dropping it
/// stops whatever serves it.
pub trait SshSocket: Send + Sync {
    /// Path of the unix socket.
    fn path(&self) -> PathBuf;
}

/// Opens forwarded agents by id.
#[async_trait::async_trait]
pub trait Ssh: Send + Sync {
    /// A socket for agent `id` (`default` when a Dockerfile names none);
    /// `None` when the client forwards no such agent.
    async fn agent(&self, id: &str) -> Result<Option<Box<dyn SshSocket>>, SessionError>;
}

/// A client that forwards nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoSsh;

#[async_trait::async_trait]
impl Ssh for NoSsh {
    async fn agent(&self, _id: &str) -> Result<Option<Box<dyn SshSocket>>, SessionError> {
        Ok(None)
    }
}
