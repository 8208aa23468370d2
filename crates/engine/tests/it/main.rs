//! Tests of the engine as a library.

#![allow(clippy::unwrap_used)]

mod devices;
mod engine;
mod explain;
mod gateway;
mod history;
mod host_files;
mod keys;
mod nested;
mod provenance;
mod proxy_network;
mod session_policy;
mod upkeep;
