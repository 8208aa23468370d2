//! Directories of a client on another machine.

use tonic::Status;

use super::link::Link;
use super::request::DirectoryRequest;

/// A directory that a client on another machine lends.
#[async_trait::async_trait]
pub trait RemoteDirectory: Send + Sync {
    /// What the client's directories are known by beyond one session; may be empty.
    fn shared_key(&self) -> &str;

    /// Begins a transfer, in which the client sends and this side receives.
    async fn open(&self, request: &DirectoryRequest) -> Result<Link, Status>;
}

/// What becomes of files that are in the client's directory but not in what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// They stay.
    Keep,
    /// They are removed.
    Remove,
}

/// A directory of a client on another machine that takes a build's result.
#[async_trait::async_trait]
pub trait RemoteTarget: Send + Sync {
    /// Begins a transfer, in which this side sends and the client receives.
    async fn open(&self, others: Others) -> Result<Link, Status>;
}
