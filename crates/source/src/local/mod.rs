//! Local directories: `local://`.
//!
//! A snapshot is made in a few passes: `scan` walks the directory through the
//! `filter`, `plan` compares what it found with the `index` of the snapshot
//! before, `check` looks closer where that leaves doubt, and `write` makes what is new. Times alone never decide: see `source`.

mod check;
mod content;
mod crew;
mod entry;
mod filter;
mod follow;
mod identifier;
mod index;
mod make;
mod plan;
mod root;
mod scan;
mod source;
mod write;
mod xattr;

pub use identifier::{Differ, LocalIdentifier};
pub use source::{LocalProgress, LocalSource, TransferProgress};
