//! The client against servers that the tests are.

#![allow(clippy::unwrap_used)]

mod server;

mod addresses;
mod calls;
mod connections;
mod layouts;
mod solves;
