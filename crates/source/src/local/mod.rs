//! Local directories: `local://`.

mod identifier;
mod source;

pub use identifier::{Differ, LocalIdentifier};
pub use source::{LocalProgress, LocalSource, TransferProgress};
