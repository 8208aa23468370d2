//! Tests of the crate from outside.
#![allow(clippy::unwrap_used, reason = "also in what tests share")]

mod wire;
