//! Files from web servers, for `ADD https://…` and contexts that are archives.

mod filename;
mod identifier;
mod remember;
mod request;
mod save;
mod source;

pub use identifier::HttpIdentifier;
pub use source::{DownloadProgress, HttpFile, HttpSource};
