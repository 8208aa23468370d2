//! Images: `docker-image://` from registries and `oci-layout://` from directories.

mod cache_key;
mod containerd;
mod fetch;
mod identifier;
mod layout;
mod manifest;
mod origin;
mod source;

pub use fetch::PullProgress;
pub use identifier::{ImageIdentifier, LayoutIdentifier, ResolveMode};
pub use layout::LayoutSource;
pub use source::{Image, ImageLookup, ImageSource, ResolvedImage, session_authority};
