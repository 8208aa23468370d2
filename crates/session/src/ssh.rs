//! SSH agents (or raw sockets) forwarded into steps.

use std::path::PathBuf;

use crate::SessionError;

/// A socket on this machine that speaks for a forwarded agent. Dropping it
/// stops whatever serves it.
pub trait SshSocket: Send + Sync {
    /// Path of the unix socket.
    fn path(&self) -> PathBuf;

    /// Lets a user of the step connect to it. A socket of the user's own agent keeps
    /// the owner it has.
    fn give_to(&self, _owner: SocketOwner) -> Result<(), SessionError> {
        Ok(())
    }

    /// What is spoken over it.
    fn protocol(&self) -> SocketProtocol {
        SocketProtocol::Agent
    }
}

/// Who may connect to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketOwner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// What is spoken over a forwarded socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketProtocol {
    /// The SSH agent's. Only listing keys and signing is let through to another machine.
    Agent,
    /// Anything; everything is let through (`raw=true`).
    Raw,
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
