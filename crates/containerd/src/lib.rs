//! A client of containerd's gRPC API over its unix socket.
//!
//! A [`Containerd`] is one namespace of one containerd. Its services are [`Content`] (blobs), [`Images`] (names),
//! [`Snapshotter`] (unpacked layers) and leases: while something is put together, a [`Lease`] keeps containerd's
//! garbage collector away from it, and [`Containerd::under`] does all that follows under that lease.

mod error;

mod connection;
mod server;

mod content;
mod write;

mod images;
mod lease;
mod snapshots;
mod unpack;

pub use connection::{
    Address, Containerd, DEFAULT_ADDRESS, DEFAULT_NAMESPACE, DEFAULT_SNAPSHOTTER,
};
pub use content::{BlobInfo, BlobStream, Content};
pub use error::ContainerdError;
pub use images::{Collection, Image, Images};
pub use lease::Lease;
pub use server::ServerInfo;
pub use snapshots::{Mount, SnapshotInfo, SnapshotKind, Snapshotter};
pub use unpack::{UnpackLayer, chain_id};
pub use write::BlobToWrite;
