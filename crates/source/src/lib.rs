//! Where a build's files come from: images in registries, OCI layouts, local directories, web servers, git
//! repositories.
//!
//! Each kind has an identifier, read from the `source` op's URL and attributes, and a
//! struct that gives its cache key (upstream's, byte for byte) and its files as a
//! [`kiln_store::Ref`].

mod attribute;
mod blocking;
mod error;
mod file_name;
pub mod git;
pub mod http;
pub mod image;
pub mod local;
mod number;
mod single_file;

pub use error::SourceError;
pub use git::{GitIdentifier, GitLog, GitObjects, GitRevision, GitSource};
pub use http::{
    ChecksumAlgorithm, ChecksumRequest, DownloadProgress, HttpFile, HttpIdentifier, HttpSource,
};
pub use image::{
    AttestationChain, BlobHome, BlobIdentifier, Image, ImageIdentifier, ImageLookup, ImageSource,
    LayoutIdentifier, LayoutSource, PullProgress, ResolveMode, ResolvedImage, session_authority,
};
pub use local::{Differ, LocalIdentifier, LocalProgress, LocalSource, TransferProgress};

/// A cache key as the source op hashes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheKey {
    /// The text that identifies the content. With the prefix `session:` it identifies
    /// the place only, and the engine must go by the content's checksum.
    pub key: String,
    /// What the source stands for right now, for provenance.
    pub pin: String,
    /// There is a further, more general key at the next index.
    pub more: bool,
}
