//! Images: `docker-image://` from registries and `oci-layout://` from directories, and single blobs of both.

mod attestations;
mod blob;
mod blob_identifier;
mod cache_key;
mod containerd;
mod fetch;
mod identifier;
mod layout;
mod manifest;
mod origin;
mod source;

pub use attestations::AttestationChain;
pub use blob_identifier::{BlobHome, BlobIdentifier};
pub use fetch::PullProgress;
pub use identifier::{ImageIdentifier, LayoutIdentifier, ResolveMode};
pub use layout::LayoutSource;
pub use source::{Image, ImageLookup, ImageSource, ResolvedImage, session_authority};
