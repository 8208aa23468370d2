//! Exports of real refs, checked by other tools' readers.

#![allow(clippy::unwrap_used)]

mod archive;
mod attestation;
mod chunked;
mod compression;
mod config;
mod early;
mod estargz;
mod faults;
mod fixture;
mod layers;
mod layout;
mod local;
mod local_remote;
mod options;
mod push;
mod reference;
mod tree_tar;
