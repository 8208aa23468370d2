//! Tests of the crate from outside.
#![allow(clippy::unwrap_used, reason = "also in what tests share")]

mod build;
mod codec;
mod git_urls;
mod graph;
mod names;
mod paths;
mod platforms;
mod policy;
