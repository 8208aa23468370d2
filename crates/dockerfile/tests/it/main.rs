//! What Dockerfiles mean, told in small ones.

mod golden;
mod lowering;
mod directives;
mod errors;
mod excerpt;
mod expansion;
mod heredocs;
mod instructions;
mod lint;
mod mounts;
mod properties;
mod statements;
mod suggest;
