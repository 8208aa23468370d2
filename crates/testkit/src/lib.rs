//! Fixtures and servers for tests.
//!
//! Nothing here uses the project's own exporters or clients: what tests read was made by other tools
//! (Debian's busybox, GNU tar, skopeo, docker-registry, containerd, dockerd), so that a mistake of ours cannot hide behind itself.

mod http;
mod run;
#[cfg(feature = "stores")]
mod serving;

#[cfg(feature = "stores")]
pub mod actions_cache;
#[cfg(feature = "stores")]
pub mod azure;
#[cfg(feature = "stores")]
pub mod s3;
#[cfg(feature = "stores")]
pub mod web_cache;

pub mod containerd;
pub mod docker;
pub mod faults;
pub mod git;
pub mod image;
pub mod keys;
pub mod proxy;
pub mod registry;
pub mod rootfs;
pub mod tools;
pub mod web;
