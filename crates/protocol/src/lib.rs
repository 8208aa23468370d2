//! Generated protobuf types and gRPC services of the BuildKit API.
//!
//! The .proto files are in `proto/`; `cargo xtask codegen` turns each into a module under
//! `src/generated`. Nothing else belongs here.
//!
//! A service `Name` is in its package's module as `name_client::NameClient`, which takes any
//! channel, and `name_server::{Name, NameServer}`, the trait to implement and its wrapper.

#[allow(
    missing_docs,
    unreachable_pub,
    deprecated,
    clippy::all,
    clippy::unwrap_used
)]
#[rustfmt::skip]
mod generated {
    /// Capabilities that two sides agree on (`moby.buildkit.v1.apicaps`).
    pub mod apicaps;
    /// Access to a content store (`containerd.services.content.v1`).
    pub mod content;
    /// containerd: layers to files (`containerd.services.diff.v1`).
    pub mod containerd_diff;
    /// containerd: names of images (`containerd.services.images.v1`).
    pub mod containerd_images;
    /// containerd: what it says of itself (`containerd.services.introspection.v1`).
    pub mod containerd_introspection;
    /// containerd: leases (`containerd.services.leases.v1`).
    pub mod containerd_leases;
    /// containerd: namespaces (`containerd.services.namespaces.v1`).
    pub mod containerd_namespaces;
    /// containerd: snapshots (`containerd.services.snapshots.v1`).
    pub mod containerd_snapshots;
    /// containerd: messages that its services share (`containerd.types`).
    pub mod containerd_types;
    /// containerd: its version (`containerd.services.version.v1`).
    pub mod containerd_version;
    /// The daemon's API (`moby.buildkit.v1`).
    pub mod control;
    /// Details of build errors (`errdefs`); on the wire they are JSON, not protobuf.
    pub mod errdefs;
    /// Session: the client picks exporters (`moby.exporter.v1`).
    pub mod exporter;
    /// Session: files, exports and registry logins of the client (`moby.filesync.v1`).
    pub mod filesync;
    /// The gateway API that frontends build with (`moby.buildkit.v1.frontend`).
    pub mod frontend;
    /// Transfer of file trees (`fsutil.types`).
    pub mod fsutil;
    /// Health of a server (`grpc.health.v1`).
    pub mod health;
    /// Attributes of spans (`opentelemetry.proto.common.v1`).
    pub mod otlp_attributes;
    /// The service that takes spans (`opentelemetry.proto.collector.trace.v1`).
    pub mod otlp_collector;
    /// Programs that spans come from (`opentelemetry.proto.resource.v1`).
    pub mod otlp_resource;
    /// Spans (`opentelemetry.proto.trace.v1`).
    pub mod otlp_trace;
    /// LLB: ops, definitions and their metadata (`pb`).
    pub mod pb;
    /// Plans of builds, an extension of Kiln's (`kiln.planner.v1`).
    pub mod planner;
    /// Session: the client decides about sources
    /// (`moby.buildkit.v1.sourcepolicy.policysession`).
    pub mod policysession;
    /// Errors as messages (`google.rpc`).
    pub mod rpc;
    /// Session: secrets of the client (`moby.buildkit.secrets.v1`).
    pub mod secrets;
    /// Rules about sources (`moby.buildkit.v1.sourcepolicy`).
    pub mod sourcepolicy;
    /// Session: SSH agents of the client (`moby.sshforward.v1`).
    pub mod sshforward;
    /// Stack traces that travel with errors (`stack`).
    pub mod stack;
    /// Workers and versions (`moby.buildkit.v1.types`).
    pub mod types;
    /// Session: streams of the client (`moby.upload.v1`).
    pub mod upload;
}

pub use generated::*;
