//! LLB: the graph of build steps. Types, digests, validation, platforms, and a builder whose
//! encoding is stable byte for byte, because an op's bytes are its identity and its cache key.
//!
//! Invariant: nothing here does IO.

pub use definition::{DecodeError, Definition};
pub use digest::digest_of;
pub use encode::encode_op;
pub use graph::{Edge, Graph, LoadError, MAX_OP_BYTES, MAX_OPS, Vertex};
pub use kiln_protocol::pb;

mod definition;
mod digest;
mod encode;
mod graph;
mod validate;

pub mod attr;
pub mod caps;
pub mod platform;

pub mod git_url;
pub mod path;
pub mod policy;
pub mod redact;
pub mod reference;

pub mod build;
pub mod json;
