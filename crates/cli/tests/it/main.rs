//! End-to-end tests: the real `buildctl`, real mounts, real registries, and
//! other projects' tools as judges of what comes out. They need root.

#![allow(clippy::unwrap_used)]

mod daemon;
mod world;

mod cache;
mod cache_exchange;
mod cache_losses;
mod cache_mounts;
mod cache_stores;
mod command_line;
mod daemon_builds;
mod daemon_commands;
mod differential;
mod docker;
mod dockerfile;
mod downloads;
mod dry_run;
mod engines;
mod explain;
mod failures;
mod frontend_image;
mod git;
mod golden;
mod limits;
mod outputs;
mod page;
mod processes;
mod proxy_network;
mod reference_images;
mod registries;
mod reproducible;
mod sbom;
mod source_policy;
mod sources;
mod ssh;
mod steps;
mod update;
