//! Tests of the store through its public API. Those that mount need root and fail without it.
#![allow(clippy::unwrap_used)]

mod setup;

mod child;

mod cache_mounts;
mod combine;
mod content;
mod database;
mod errors;
mod lazy;
mod pattern;
mod processes;
mod prune;
mod trees;
