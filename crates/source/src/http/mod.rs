//! Files from web servers, for `ADD https://…` and contexts that are archives.

mod body;
mod content;
mod filename;
mod identifier;
mod remember;
mod request;
mod save;
mod source;

pub use content::{ChecksumAlgorithm, ChecksumRequest};
pub use identifier::{HttpIdentifier, HttpSignature};
pub use source::{DownloadProgress, HttpFile, HttpSource};
