//! What Dockerfiles mean, told in small ones.

mod cases;
mod directives;
mod errors;
mod excerpt;
mod expansion;
mod golden;
mod heredocs;
mod instructions;
mod lint;
mod lowering;
mod mounts;
mod properties;
mod statements;
mod suggest;
