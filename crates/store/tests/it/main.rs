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
mod model;
mod pattern;
mod processes;
mod prune;
mod trees;

mod layers_trees;

mod layers_apply;
mod layers_checksum;
mod layers_diff;
mod layers_tar;
mod layers_tree;
mod layers_user;
