//! Caches written and read: bytes, round trips, other people's mistakes.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod fixture;
mod format;
mod inline;
mod mounts;
mod options;
mod reference;
mod registry;
mod round_trip;
mod store_keys;
mod stores;
