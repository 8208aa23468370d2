//! The embedded build engine: joins storage, sources, solver, executor,
//! frontends and exporters into builds.
//!
//! ```no_run
//! # async fn example(request: kiln_engine::BuildRequest) -> Result<(), kiln_engine::BuildError> {
//! use kiln_engine::{Engine, EngineOptions};
//!
//! let engine = Engine::open(EngineOptions::new("/var/lib/kiln"))?;
//! let outcome = engine.build(request).await?;
//! # drop(outcome); Ok(()) }
//! ```
//!
//! It reads no environment, no home directory and no terminal: all that comes
//! in by [`EngineOptions`] and [`BuildRequest`].

mod entitlement;
mod error;
mod gc;
mod host_files;
mod open_files;
mod options;
mod request;

mod engine;

pub mod explain;
pub mod history;

pub mod plan;

mod bridge;
mod build;
mod cache_transfer;
mod export;
mod frontend;
mod late_exports;
mod load;
mod lost;
mod ops;
mod provenance;
mod remote_sources;
mod revisions;
mod vertex_name;
mod wanted_platforms;
pub mod wire_error;

mod cache;
mod checksums;
mod collect;
mod devices;
mod metadata;
mod registries;
mod source_meta;
mod source_policy;
mod sources;
mod tree;
mod upkeep;
mod usage;
mod worker;
mod worker_filter;

mod jobs;
mod observe;
mod step;
mod step_network;
mod step_runner;
mod surroundings;

pub use cache::DatabaseKeys;
pub use devices::{DeviceInfo, DeviceList, DeviceOptions};
pub use engine::Engine;
pub use entitlement::{DeviceGrant, Entitlement};
pub use error::{BuildError, Detail, FailedStep, Kind, Location, chain as error_chain};
pub use frontend::gateway::LlbBridgeService;
pub use gc::{GcPolicy, GcSettings, Upkeep, disk_size};
pub use history::{History, HistoryOptions, RecordedAttestations};
pub use host_files::{HostFileError, read_host_directories};
pub use kiln_dockerfile::LANGUAGE_VERSION as DOCKERFILE_VERSION;
pub use kiln_executor::{Dns, rootless};
pub use kiln_llb::Definition;
pub use kiln_remote_cache::StoreEnvironment;
pub use kiln_store::RecordType;
pub use kiln_store::gc::{PruneOptions, SpaceLimits, UsageOptions, UsageRecord};
pub use late_exports::LateExports;
pub use metadata::dump_metadata;
pub use open_files::{OpenFiles, raise_open_files};
pub use options::{
    ContainerdImages, EngineOptions, ExecutorChoice, Frontends, Proxies, UnknownKeys, WorkerInfo,
};
pub use provenance::ProvenanceEnvironment;
pub use request::{
    Attributes, BuildOutcome, BuildRequest, CacheEntry, ExportRequest, ExportTarget, Frontend,
    Provenance, Recorded,
};
pub use step_network::StepNetwork;
pub use surroundings::Compatibility;
