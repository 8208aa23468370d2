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
//! [`Client::solve`] builds. What the build may use of this side is lent with
//! [`Services`](kiln_session::Services) while it runs:
//!
//! ```no_run
//! # async fn example(client: kiln_client::Client) -> Result<(), kiln_client::ClientError> {
//! use std::sync::Arc;
//!
//! use kiln_client::{Export, Frontend, SolveRequest};
//! use kiln_session::progress::Silent;
//! use kiln_session::{Delivery, Services};
//!
//! let request = SolveRequest {
//!     frontend: Frontend::Named("dockerfile.v0".into()),
//!     options: [("target".into(), "release".into())].into(),
//!     exports: vec![Export {
//!         kind: "oci".into(),
//!         ..Export::default()
//!     }],
//!     ..SolveRequest::default()
//! };
//! let archive = std::fs::File::create("image.tar").expect("a file");
//! let services = Services {
//!     directories: [("context".into(), ".".into()), ("dockerfile".into(), ".".into())].into(),
//!     exports: [(0, Delivery::Stream(Box::new(archive)))].into(),
//!     ..Services::default()
//! };
//! let outcome = client.solve(request, services, Arc::new(Silent)).await?;
//! println!("built {}", outcome.response["containerimage.digest"]);
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

mod request;
mod status;

mod layout_index;
mod layouts;

mod archive_file;

mod plan;
mod question;
mod solve;

mod content;
mod history;
mod usage;
mod workers;

pub use address::{Address, AddressError};
pub use archive_file::ArchiveFile;
pub use client::{Client, ConnectOptions};
pub use connect::answers;
pub use error::{ClientError, DaemonError, Place};
pub use history::{
    BuildHistoryEvent, BuildHistoryEventType, BuildHistoryRecord, BuildResultInfo, Descriptor,
    HistoryChange, HistoryRequest,
};
pub use request::{CacheEntry, Export, Frontend, SolveOutcome, SolveRequest};
pub use tls::{Identity, Tls, TlsError};
pub use tonic::Code;
pub use usage::{PruneRequest, UsageRecord};
pub use workers::{Device, GcRule, Platform, Version, Worker};
