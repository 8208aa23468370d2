//! What a client lends to a build while it runs: directories, credentials,
//! secrets, SSH agents, and a place to report progress to.
//!
//! Everything is a plain trait, implemented in-process by the embedded
//! `buildctl`. Nothing here knows how a build works.

mod credentials;
mod error;
mod files;
pub mod progress;
mod secrets;
mod session;
mod ssh;

pub use credentials::{Anonymous, Credential, Credentials};
pub use error::SessionError;
pub use files::{Directories, FileSync};
pub use secrets::{MAX_SECRET_SIZE, NoSecrets, Secrets};
pub use session::{Session, SessionId};
pub use ssh::{NoSsh, Ssh, SshSocket};
