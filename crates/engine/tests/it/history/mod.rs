//! The history of builds.

mod bench;

mod events;
mod filters;
mod processes;
mod records;
mod traces;
