//! Trees of files on their way between a client and a daemon on another machine.
//!
//! The protocol is that of BuildKit's fsutil: the sender lists everything in order, the receiver
//! asks for the content it lacks, and both end with a farewell. A [`Link`] carries the packets of
//! one transfer, whatever it runs over.

mod deliver;
mod entry;
mod error;
mod lend;
mod link;
mod order;
mod pump;
mod receive;
mod remote;
mod request;
mod send;

pub use deliver::deliver;
pub use entry::{EntryKind, TreeEntry};
pub use error::TransferError;
pub use lend::{LentDirectories, NearbyDirectory};
pub(crate) use link::CallPackets;
pub use link::{Link, Outbound};
pub use receive::{IncomingFile, Sink, receive};
pub use remote::{Others, RemoteDirectory, RemoteTarget};
pub use request::DirectoryRequest;
pub use send::{Announced, Clash, OutgoingTree, Owners, SendProgress, Sockets, StopFlag, send};

/// Metadata that says that one transfer has all of a result, whatever its platforms.
pub(crate) const WHOLE_RESULT: &str = "buildkit-exporter-multi-platform";
