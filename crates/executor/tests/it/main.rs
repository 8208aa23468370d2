//! What users rely on, for every executor: our own, runc and crun.
//!
//! Needs root, runc, crun and busybox-static.
#![allow(clippy::unwrap_used, reason = "also in what tests share")]

mod fixture;

mod cancel;
mod certificates;
mod exit;
mod files;
mod isolation;
mod joined;
mod leaks;
mod mounts;
mod native_only;
mod output;
mod rootless;
mod users;
