//! Steps' requests, through proxies, to servers of the test's own.
//!
//! Needs curl and openssl.
#![allow(clippy::unwrap_used, reason = "also in what tests share")]

mod fixture;
mod origin;

mod life;
mod materials;
mod requests;
mod rules;
mod tunnels;
