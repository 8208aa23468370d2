//! What a client lends to a build while it runs: directories, credentials,
//! secrets, SSH agents, and a place to report progress to.
//!
//! Everything is a plain trait, implemented in-process by the embedded `buildctl`. A
//! client of a daemon lends [`Services`] over a gRPC connection inside its `Session`
//! call; the daemon finds it among its [`Sessions`] and sees the same traits, behind a
//! [`RemoteSession`]. Nothing here knows how a build works.

pub mod content;
mod credentials;
mod error;
mod exporters;
mod files;
mod policy;
pub mod progress;
mod receiver;
mod secrets;
mod session;
mod ssh;

mod headers;
mod relay;
pub mod tunnel;

pub mod transfer;

mod remote;
mod sessions;

mod services;

pub use content::{BlobStream, RemoteContent};
pub use credentials::{Anonymous, Credential, Credentials, LoginIdentity, Token, TokenRequest};
pub use error::SessionError;
pub use exporters::{PickExporters, PickedExporter};
pub use files::{Directories, FileSync, LentDirectory, LentLayout};
pub use headers::SessionHeaders;
pub use policy::{JudgeSources, SourceAnswer, SourceQuestion};
pub use receiver::{ImageReceiver, LayerNames, RECEIVER};
pub use remote::{ExportStream, PendingSession, RemoteExporters, RemoteSession};
pub use secrets::{MAX_SECRET_SIZE, NoSecrets, Secrets};
pub use services::{Delivery, Services};
pub use session::{Session, SessionId};
pub use sessions::Sessions;
pub use ssh::{NoSsh, SocketOwner, SocketProtocol, Ssh, SshSocket};
