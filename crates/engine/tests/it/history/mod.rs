//! The history of builds.

pub(crate) mod bench;

mod events;
mod filters;
mod processes;
mod records;
mod traces;
