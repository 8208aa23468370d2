//! Trees of files on their way between a client and a daemon on another machine.
//!
//! The protocol is that of BuildKit's fsutil: the sender lists everything in order, the receiver
//! asks for the content it lacks, and both end with a farewell. A [`Link`] carries the packets of
//! one transfer, whatever it runs over.

mod entry;
mod error;
mod link;
mod order;
mod pump;
mod receive;
mod remote;
mod request;
mod send;

pub use entry::{EntryKind, TreeEntry};
pub use error::TransferError;
pub use link::{Link, Outbound};
pub use receive::{IncomingFile, Sink, receive};
pub use remote::{ChannelDirectory, ChannelTarget, Others, RemoteDirectory, RemoteTarget};
pub use request::DirectoryRequest;
pub use send::{Announced, Clash, OutgoingTree, Owners, SendProgress, Sockets, StopFlag, send};

/// Metadata of a call that delivers an export: which one it is in the client's request.
pub const EXPORTER_ID: &str = "buildkit-attachable-exporter-id";

/// Metadata that says that one transfer has all of a result, whatever its platforms.
pub const WHOLE_RESULT: &str = "buildkit-exporter-multi-platform";
