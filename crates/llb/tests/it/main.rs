//! Tests of the crate from outside.

mod build;
mod codec;
mod git_urls;
mod graph;
mod names;
mod paths;
mod platforms;
