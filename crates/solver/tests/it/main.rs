//! The solver through its public API, with toy ops over integers.
#![allow(clippy::unwrap_used)]

mod caching;
mod cancelling;
mod exporting;
mod observing;
mod scale;
mod sharing;
mod stores;
mod toy;
