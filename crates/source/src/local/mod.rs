//! Local directories: `local://`.
//!
//! A snapshot is made in a few passes: the directory is walked through its
//! filters, `plan` compares what it found with the `index` of the snapshot
//! before, `check` looks closer where that leaves doubt, and `write` makes what is new. Times alone never decide: see
//! `source`. What a client elsewhere lends comes through `remote`, where it is as the client says.

mod check;
mod content;
mod identifier;
mod index;
mod make;
mod plan;
mod remote;
mod source;
mod write;

pub use identifier::{Differ, LocalIdentifier};
pub use source::{LocalProgress, LocalSource, TransferProgress};
