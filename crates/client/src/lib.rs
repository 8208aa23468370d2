//! A client for BuildKit's daemon: Kiln's own and every other one that speaks
//! its gRPC API.
//!
//! [`Client::connect`] makes a connection, on which everything else happens:
//!
//! ```no_run
//! # async fn example() -> Result<(), kiln_client::ClientError> {
//! use futures::TryStreamExt as _;
//! use kiln_client::{Client, ConnectOptions, PruneRequest};
//!
//! let address = "unix:///run/buildkit/buildkitd.sock".parse()?;
//! let client = Client::connect(&address, &ConnectOptions::default()).await?;
//!
//! for record in client.disk_usage(&[]).await? {
//!     println!("{} takes {} bytes", record.id, record.size);
//! }
//! let removed = client.prune(PruneRequest::default()).await?;
//! let removed: Vec<_> = removed.try_collect().await?;
//! println!("{} records are gone", removed.len());
//! # Ok(()) }
//! ```
//!
//! It reads no environment and no configuration files: what applies comes in
//! as data.

mod address;
mod error;
mod tls;

mod client;
mod command;
mod connect;

mod status;

mod content;
mod history;
mod usage;
mod workers;

pub use address::{Address, AddressError};
pub use client::{Client, ConnectOptions};
pub use connect::answers;
pub use error::{ClientError, DaemonError, Place};
pub use history::{
    BuildHistoryEvent, BuildHistoryEventType, BuildHistoryRecord, BuildResultInfo, Descriptor,
    HistoryChange, HistoryRequest,
};
pub use tls::{Identity, Tls, TlsError};
pub use tonic::Code;
pub use usage::{PruneRequest, UsageRecord};
pub use workers::{Device, GcRule, Platform, Version, Worker};
