//! The client against servers that the tests are.

#![allow(clippy::unwrap_used)]

mod addresses;
