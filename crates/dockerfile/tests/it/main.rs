//! What Dockerfiles mean, told in small ones.
#![allow(clippy::unwrap_used)]

mod cases;
mod contexts;
mod directives;
mod errors;
mod excerpt;
mod expansion;
mod golden;
mod heredocs;
mod instructions;
mod lint;
mod locations;
mod lowering;
mod mounts;
mod options;
mod properties;
mod random;
mod statements;
mod suggest;
