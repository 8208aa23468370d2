//! Generated protobuf types of the BuildKit API.
//!
//! The .proto files are in `proto/`; `cargo xtask codegen` turns them into the code under
//! `src/generated`. Nothing else belongs here.

/// LLB: ops, definitions and their metadata (protobuf package `pb`).
#[path = "generated/pb.rs"]
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
pub mod pb;
